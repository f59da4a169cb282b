"""Write everything anew that tests compare with, for a person to review in the diff: ``make expectations``.

Cases (their logs from ``cases/recipes.yml``, what they become), the ids of ``fingerprints.json``, the lists of
``golden``, what the compiler says, and the outputs that README.md and docs show. Names what changed, a file a line.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import golden
import golden.facts
import golden.frames
import pages
import test_compiler
from allocfail.decoder.fingerprint import fingerprint, keep
from allocfail.decoder.trace import TraceBuilder, parse_frames
from allocfail.logs.events import Options, decode_bytes
from dumpgen import generate
from dumpgen.compare import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dumpgen.model import Dump

__all__ = ["CASES", "expected", "facts_of", "group", "logs", "made", "recipes", "text_of"]

CASES = Path(__file__).parent / "cases"
GROUPS = Path(__file__).parent / "fingerprints.json"
SAMPLES = Path(__file__).parents[1] / "samples"

#: A year of its own: what a log without one means depends on when it is read.
OPTIONS = Options(year=2024)
#: What a case leaves to others: its own lines again, and what articles and rules say.
_LEFT_OUT = (
    *("event.original", "event.reference", "error.stack_trace", "allocfail.kb", "allocfail.kb_url", "rule"),
    *("allocfail.taints", "event.category", "event.type", "event.kind", "event.module", "event.dataset", "tags"),
)
#: How many dumps are drawn for a case, of which the shortest is taken.
SEEDS = 24
_VERDICT = ("cause", "severity", "zone_reclaim_mode")


def recipes() -> dict[str, dict[str, Any]]:
    """Return the recipes of the logs in ``cases``."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "recipes.yml").read_text(encoding="utf-8"))
    return found


def _fits(dump: Dump, recipe: dict[str, Any]) -> bool:
    """Whether a dump has what its recipe asks for, and a trace that is worth one's while."""
    of_trace = get(dump.truth, "allocfail.trace.functions")
    found = {
        "constraint": get(dump.truth, "allocfail.oom.constraint"),
        "context": get(dump.truth, "allocfail.trace.context"),
    }
    return (of_trace is None or len(of_trace) > 6) and all(
        recipe.get(name, told) == told for name, told in found.items()
    )


def _dump(name: str, recipe: dict[str, Any], seed: int, tangle: str | None) -> Dump:
    wanted = {key: recipe[key] for key in ("era", "arch", "release", "kind", "prefix", "mem", "host") if key in recipe}
    if "release" in wanted:
        wanted.pop("era", None)
    return generate(random.Random(f"{name} {seed}"), tangle=tangle, **wanted)


def _shortest(name: str, recipe: dict[str, Any]) -> int:
    """Return the seed of the shortest dump, out of some, that fits a recipe in each of its forms."""
    fitting: list[tuple[int, int]] = []
    for seed in range(SEEDS):
        plain = _dump(name, recipe, seed, None)
        if _fits(plain, recipe):
            forms = (_dump(name, recipe, seed, form) for form in recipe.get("forms", []))
            if all(form.truth["message"] == plain.truth["message"] for form in forms):
                fitting.append((len(plain.text), seed))
    return min(fitting)[1]


def made(name: str, recipe: dict[str, Any]) -> dict[str, str]:
    """Return the logs of a recipe by their path in ``cases``."""
    seed = _shortest(name, recipe)
    if "forms" not in recipe:
        return {f"{name}.log": _dump(name, recipe, seed, None).text}
    return {f"{name}/{form}.log": _dump(name, recipe, seed, form).text for form in recipe["forms"]}


def logs() -> list[Path]:
    """Return every log that has to become something."""
    return [*sorted(CASES.rglob("*.log")), *sorted(SAMPLES.glob("*.log"))]


def expected(log: Path) -> Path:
    """Return the file that says what a log becomes: its own, or that of the folder whose logs all become the same."""
    name = log.parent.name if log.parent.parent == CASES else log.stem
    return CASES / f"{name}.expected.json"


def facts_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return what was decoded, by dotted name: without the log's own lines and the words of rules and articles."""
    facts = {}
    for path, value in _leaves(document, ""):
        if path.startswith("allocfail.verdict."):
            if path.rpartition(".")[2] in _VERDICT:
                facts[path] = value
        elif not any(path == name or path.startswith(f"{name}.") for name in _LEFT_OUT):
            facts[path] = value
    return dict(sorted(facts.items()))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def decoded(log: Path) -> list[dict[str, Any]]:
    """Return the facts of every event in a log."""
    return [facts_of(event.document) for event in decode_bytes(log.read_bytes(), OPTIONS)]


def text_of(events: list[dict[str, Any]]) -> str:
    """Return an expectation as a file has it: a line a field, of a list of zones or nodes a line each."""
    out = []
    for facts in events:
        lines = []
        for name, value in facts.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                inner = ",\n".join(f"      {json.dumps(one, ensure_ascii=False, sort_keys=True)}" for one in value)
                lines.append(f"    {json.dumps(name)}: [\n{inner}\n    ]")
            else:
                lines.append(f"    {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
        out.append("  {\n" + ",\n".join(lines) + "\n  }")
    return "[\n" + ",\n".join(out) + "\n]\n"


def group(of: dict[str, Any]) -> dict[str, str]:
    """Return the id and what belongs to it of one row of ``fingerprints.json``."""
    arguments = dict(of)
    lines = arguments.pop("trace", None)
    old = bool(arguments.pop("old", False))
    if lines is not None:
        builder = TraceBuilder()
        for line in lines:
            builder.add(line, parse_frames(line) or ())
        arguments["kept"] = keep(builder.build(old_release=old))
    mark = fingerprint(**arguments)
    return {"id": mark.id, "text": mark.text, "level": mark.level, "header": mark.header_text}


def _put(path: Path, text: str) -> Iterator[Path]:
    if not path.is_file() or path.read_bytes() != text.encode():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        yield path


def _write_cases() -> Iterator[Path]:
    for name, recipe in recipes().items():
        for path, text in made(name, recipe).items():
            yield from _put(CASES / path, text)
    for log in logs():
        yield from _put(expected(log), text_of(decoded(log)))


def _write_groups() -> Iterator[Path]:
    rows = json.loads(GROUPS.read_text(encoding="utf-8"))
    new = [{**row, **group(row["of"])} for row in rows]
    if new != rows:
        yield from _put(GROUPS, json.dumps(new, ensure_ascii=False, indent=1) + "\n")


def main() -> None:
    """Write what is not as it has to be, and name it."""
    changed = [*_write_cases(), *_write_groups(), *golden.write()]
    changed += _put(golden.facts.PATH, "\n".join(golden.facts.lines()) + "\n")
    changed += _put(golden.frames.PATH, "\n".join(golden.frames.lines()) + "\n")
    changed += pages.write()
    with tempfile.TemporaryDirectory() as folder:
        for path, text in test_compiler.written(Path(folder)).items():
            changed += _put(path, text)
    for path in changed:
        sys.stdout.write(f"{path.relative_to(Path(__file__).parents[1])}\n")


if __name__ == "__main__":
    main()
