"""What is wrong with the files that people write, all at once and in a line each: schemas, and what no schema can say.

Facts, the articles' front matter and pipelines have their schemas in ``kb/schemas``, by which editors complete. A fact
file without one of its own has that of ``fact.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.articles import articles
from allocfail.content import content_path
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["gfp_problems", "problems"]

_SCHEMAS = "kb/schemas"
#: From this release on the kernel prints a mask's names, by a list of its own (lib/vsprintf.c, format_flags()).
_NAMED_SINCE = [4, 6]


def problems() -> list[str]:
    """Return what is wrong, each as ``FILE: what``; empty where nothing is."""
    found = [*_facts(), *_articles(), *_pipelines()]
    gfp = _load(content_path("kb/facts/gfp.yml"))
    # What refers to what can only be followed where everything has its shape.
    return found or [f"kb/facts/gfp.yml: {problem}" for problem in gfp_problems(gfp)]


def _load(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - only the build reads YAML

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        raise AllocfailError(f"no YAML: {' '.join(str(error).split())}") from error


def _schema(name: str) -> Any:
    return json.loads(content_path(f"{_SCHEMAS}/{name}.json").read_text(encoding="utf-8"))


def _against(schema: Any, value: Any) -> Iterator[str]:
    """Yield where a value does not have the shape of a schema, and what is wrong there."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - of the development environment

    for error in sorted(Draft202012Validator(schema).iter_errors(value), key=lambda error: error.json_path):
        yield f"{error.json_path.removeprefix('$').lstrip('.') or 'the file'}: {_short(error.message)}"


def _short(message: str) -> str:
    """Return a message without the value that it repeats, where that is long."""
    words = " ".join(message.split())
    return words if len(words) <= 160 else f"…{words[-120:]}"


def _checked(path: Path, schema: Any) -> Iterator[str]:
    name = path.relative_to(content_path("."))
    try:
        yield from (f"{name}: {problem}" for problem in _against(schema, _load(path)))
    except AllocfailError as error:
        yield f"{name}: {error}"


def _facts() -> Iterator[str]:
    for path in sorted(content_path("kb/facts").glob("*.yml")):
        own = content_path(f"{_SCHEMAS}/{path.stem}.json").is_file()
        yield from _checked(path, _schema(path.stem if own else "fact"))


def _articles() -> Iterator[str]:
    schema = _schema("article")
    for path in sorted(content_path(articles.ARTICLES).rglob("*.md")):
        name = path.relative_to(content_path("."))
        text = path.read_text(encoding="utf-8")
        try:
            # The schema says more of the front matter in one go; what it cannot say the parser does.
            found = list(_against(schema, _front_matter(text)))
            yield from (f"{name}: {problem}" for problem in found)
            if not found:
                articles.parse(str(name), text)
        except AllocfailError as error:
            yield str(error) if str(error).startswith(str(name)) else f"{name}: {error}"


def _front_matter(text: str) -> Any:
    import yaml  # noqa: PLC0415 - as in _load

    head, separator, _ = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not separator:
        raise AllocfailError("no front matter between two lines of three dashes")
    try:
        return yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise AllocfailError(f"front matter is not YAML: {' '.join(str(error).split())}") from error


def _pipelines() -> Iterator[str]:
    schema = _schema("pipeline")
    processors = {"type": "array", "items": schema["properties"]["processors"]["items"]}
    for path in sorted(content_path("pipelines").glob("*.yml")):
        yield from _checked(path, processors if path.stem == "on-failure" else schema)


def gfp_problems(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong between the parts of ``gfp.yml``: names of nothing, gaps, and orders that forget a flag."""
    before: list[int] | None = None
    for row in [*facts["tables"], *facts["trees"]]:
        label = row.get("name") or ".".join(map(str, row["since"]))
        missing = [
            f"{key} {row[key]!r}"
            for key in ("layout", "composites", "order", "variants")
            if key in row and row[key] not in facts[f"{key.removesuffix('s')}s"]
        ]
        yield from (f"table {label}: there is no {what}" for what in missing)
        if "since" in row:
            if before is not None and not _follows(before, row["since"]):
                yield f"table {label}: does not follow the one that ends with {'.'.join(map(str, before))}"
            before = row["until"]
        if not missing:
            yield from (f"table {label}: {problem}" for problem in _order_problems(facts, row))
    meanings = _load(content_path("kb/facts/gfp_meanings.yml"))["meanings"]
    flags = {f"__GFP_{name}" for names in facts["layouts"].values() for name in names if name != "_"}
    yield from (f"{flag} has no meaning in gfp_meanings.yml" for flag in sorted(flags - meanings.keys()))


def _follows(before: list[int], since: list[int]) -> bool:
    """Whether nothing lies between two releases; a new major one may follow any (3.0 follows 2.6.39, 6.0 5.19)."""
    if len(before) != len(since) or before[0] != since[0]:
        return since[0] == before[0] + 1 and not any(since[1:])
    return since == [*before[:-1], before[-1] + 1]


def _order_problems(facts: dict[str, Any], row: dict[str, Any]) -> Iterator[str]:
    """Yield the flags that a kernel which prints names would print as a number, for want of them in its order."""
    named = row.get("since", row.get("base", [0]))[:2] >= _NAMED_SINCE
    if "order" not in row:
        if named:
            yield "a kernel of 4.6 or later prints names: it needs an order"
        return
    bits = {f"__GFP_{name}": 1 << bit for bit, name in enumerate(facts["layouts"][row["layout"]]) if name != "_"}
    values = bits | {name: int(value, 16) for name, value in map(str.split, facts["composites"][row["composites"]])}
    covered = 0
    for name in facts["orders"][row["order"]]:
        covered |= values.get(name, 0)
    for name, bit in bits.items():
        if not bit & covered:
            yield f"order {row['order']!r} forgets {name}, which would be printed as {bit:#x}"
