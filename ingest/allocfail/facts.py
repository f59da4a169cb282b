"""The facts both decoders share, compiled from ``kb/facts/*.yml`` and the articles' front matter.

Reading ``kb/facts/compiled.json`` takes a millisecond or two where the YAML would take a tenth of a second, which a
command over a log of gigabytes cannot spare. ``python -m allocfail.facts`` writes it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from allocfail.content import content_path

__all__ = ["COMPILED", "compile_facts", "load"]

COMPILED = "kb/facts/compiled.json"

#: Keys that only cite where a file's facts were read; a decoder does not need them.
_CITATIONS = frozenset({"about", "sources"})


@cache
def load() -> dict[str, Any]:
    """Return the compiled facts: ``load()["frames"]`` is the content of ``kb/facts/frames.yml``.

    The result is shared: treat it as read only. Raises ``FileNotFoundError`` in a source tree where
    ``make generate`` never ran.
    """
    with content_path(COMPILED).open(encoding="utf-8") as file:
        facts: dict[str, Any] = json.load(file)
    return facts


def compile_facts() -> str:
    """Return what ``compiled.json`` has to hold: every fact file under its name, and the articles' front matter."""
    import yaml  # noqa: PLC0415 - only the generator reads YAML

    from allocfail.articles import articles as kb  # noqa: PLC0415 - as above

    facts: dict[str, Any] = {}
    for path in sorted(content_path("kb/facts").glob("*.yml")):
        with path.open(encoding="utf-8") as file:
            facts[path.stem] = {k: v for k, v in yaml.safe_load(file).items() if k not in _CITATIONS}
    facts["articles"] = kb.front_matter()
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"), sort_keys=False) + "\n"


if __name__ == "__main__":
    content_path(COMPILED).write_text(compile_facts(), encoding="utf-8")
