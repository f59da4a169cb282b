"""Makes the ingest pipelines as the JSON an engine takes, from YAML, Painless in its own files, and facts.

A definition in ``pipelines/*.yml`` reads like the pipeline it becomes, with five additions: ``step`` of a script
processor names the function of the decoder that it runs, compiled (:mod:`allocfail.painless.scripts`);
``if: {file: …}`` takes a condition from a file or several (``then: …``: what is asked, where these are functions alone;
``engine: …``: where only that one needs it), ``engine: …`` beside it is for a processor that only that one needs,
``optional: true`` calls a pipeline that need not be there, and ``include`` takes a list from another YAML file.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail.content import content_path
from allocfail.decoder.options import Options
from allocfail.errors import InputError
from allocfail.painless.values import as_param
from allocfail.release import version_number
from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = [
    "CUSTOM",
    "DIALECTS",
    "ENTRY",
    "SOURCE_LIMIT",
    "STATE",
    "Dialect",
    "build",
    "dialect",
    "generate",
    "generate_scripts",
    "to_json",
]

#: Id of the pipeline that documents are sent to.
ENTRY = "allocfail"
#: Id of the pipeline that, where somebody has made it, gets each event after it was decoded.
CUSTOM = "allocfail@custom"

#: Field that holds what one script hands to the next; nothing of it stays in a document.
STATE = "_allocfail_work"
#: Painless refuses a longer source (``script.max_size_in_bytes``, 65,535 by default in both engines).
SOURCE_LIMIT = 65_535
#: Where the compiled scripts are, each as its source and the facts that it reads.
_SCRIPTS = "pipelines/generated/scripts"


class Dialect:
    """What an engine takes. Elasticsearch; another engine overrides what it does differently."""

    name = "elasticsearch"

    def __init__(self, release: tuple[int, int] = (99, 0)) -> None:
        """Take major and minor version; without them, the newest."""
        self.release = release

    @property
    def takes_meta(self) -> bool:
        """Whether a pipeline may have ``_meta``."""
        return self.release >= (7, 17)

    @property
    def optional(self) -> str:
        """The option of a ``pipeline`` processor by which a pipeline that is not there is no failure."""
        return "ignore_missing_pipeline" if self.release >= (8, 4) else "ignore_failure"

    @property
    def missing_types(self) -> frozenset[str]:
        """The mapping types that may be missing there, for which templates have others."""
        return frozenset() if self.release >= (7, 14) else frozenset({"match_only_text", "wildcard"})

    def pipeline(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a pipeline's body as this engine takes it."""
        return {**body, "_meta": {"managed_by": "allocfail"}} if self.takes_meta else body


class OpenSearch(Dialect):
    """OpenSearch refuses a pipeline with ``_meta``, and knows no option for a pipeline that is not there."""

    name = "opensearch"
    takes_meta = False
    optional = "ignore_failure"
    missing_types = frozenset({"match_only_text", "wildcard"})


DIALECTS: dict[str, type[Dialect]] = {kind.name: kind for kind in (Dialect, OpenSearch)}


def dialect(product: str, version: str | None = None) -> Dialect:
    """Return what ``product`` takes; ``version`` as ``7.10`` or ``9.4.3``, the newest where it is None or empty.

    Raises :class:`InputError` for another product and for what is no version.
    """
    kind = DIALECTS.get(product)
    if kind is None:
        raise InputError(f"not an engine: {product}; there are {', '.join(DIALECTS)}")
    if not version:
        return kind()
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0] or "0"
    if not (major.isdecimal() and minor.isdecimal()):
        raise InputError(f"not a version: {version}: write it like 7.10")
    return kind((int(major), int(minor)))


_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
#: Around signs that no other joins: two minus signs would be another.
_BLANKS = re.compile(r" ?([=!<>&|?:,{}]+) ?|(?<=\)) (?=\w)")
_FUNCTION = re.compile(r"^(?:def|void|boolean|int|long|double|String|Map|List|int\[\]) (\w+)\(", re.MULTILINE)
_CALLED = re.compile(r"(?<![.\w])[A-Za-z_]\w*(?=\()")
_FACT = re.compile(r"known\['([^']+)'\]")
#: The name of a record's field, behind its number.
_FIELD = re.compile(r" /\*\w+\*/")


def _yaml(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - only the generator reads YAML

    with path.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


def _condense(source: str) -> str:
    """Return Painless without comments and layout: a script's length is bounded, a reader's is not.

    No string in these scripts holds ``//``.
    """
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(_tight(line) for line in lines if line and not line.startswith("//"))


def _tight(line: str) -> str:
    """Return a line without the blanks that only a reader needs."""
    return _outside(line, lambda part: _BLANKS.sub(lambda found: found[1] or "", part))


def _outside(source: str, change: Callable[[str], str]) -> str:
    """Return Painless with what is outside its strings changed."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(_STRING.split(source)))


@cache
def _painless(name: str) -> str:
    return _condense(content_path(f"pipelines/painless/{name}").read_text(encoding="utf-8"))


def _script(tag: str) -> tuple[str, list[Any]]:
    """Return the source of a compiled script, and the facts that it reads.

    The script calls facts, functions and fields of records by number: a script's length is bounded, and that is fast.
    The committed source names them.
    """
    source = content_path(f"{_SCRIPTS}/{tag}.painless").read_text(encoding="utf-8")
    with content_path(f"{_SCRIPTS}/{tag}.json").open(encoding="utf-8") as file:
        known: dict[str, Any] = json.load(file)
    numbers = {name: number for number, name in enumerate(known)}
    source = _FACT.sub(lambda found: f"known.get({numbers[found[1]]})", _FIELD.sub("", source))
    source = source.replace("Map known", "List known").replace("(Map) params", "(List) params")
    source = _condense(source)
    short = {name: f"f{number}" for number, name in enumerate(_FUNCTION.findall(source))}
    source = _outside(source, lambda part: _CALLED.sub(lambda found: short.get(found[0], found[0]), part))
    return source, [*known.values()]


def _processor(kind: str, body: dict[str, Any], engine: Dialect, options: Options) -> dict[str, Any]:
    body = {key: value for key, value in body.items() if key != "engine"}
    condition = body.get("if")
    if isinstance(condition, dict):
        files = [condition["file"]] if isinstance(condition["file"], str) else condition["file"]
        body["if"] = "\n".join([*map(_painless, files), *([condition["then"]] if "then" in condition else [])])
        if condition.get("engine", engine.name) != engine.name:
            del body["if"]
    if body.pop("optional", False):
        body[engine.optional] = True
    if kind == "script" and body.pop("step", None):
        source, known = _script(body["tag"])
        if len(source.encode()) > SOURCE_LIMIT:
            raise InputError(f"script {body['tag']} has {len(source.encode())} bytes, more than {SOURCE_LIMIT}")
        params = {"known": known, "options": as_param(options)}
        body |= {"lang": "painless", "source": source, "params": params}
    return {kind: body}


def _on_failure(definition: Any, only: Sequence[str]) -> list[Any]:
    """Return what a pipeline does when a processor fails; ``only`` as in :func:`build`."""
    steps = _yaml(content_path(f"pipelines/{definition['include']}")) if isinstance(definition, dict) else definition
    kept = (STATE, *only)
    return [step for step in steps for one in step.values() if not only or one["field"].partition(".")[0] in kept]


def build(
    product: str, *, kb_url: str = DEFAULT_URL, only: Sequence[str] = (), version: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return the pipelines' bodies by id, as ``product`` (``elasticsearch`` or ``opensearch``) takes them.

    A pipeline stands behind those that it calls; the one to point at is ``allocfail``, the last. ``kb_url`` is where
    the articles are served. ``only`` are the top-level fields that are written; empty: all. ``version`` is the
    product's, the newest where it is None. Raises :class:`InputError` for another product and for what is no version.
    """
    engine = dialect(product, version)
    options = Options(kb_url=kb_url, only=tuple(only))
    built: dict[str, dict[str, Any]] = {}
    for name in ("allocfail-event", ENTRY):
        definition = _yaml(content_path(f"pipelines/{name}.yml"))
        body = {
            "description": definition["description"],
            "version": version_number(),
            "processors": [
                _processor(kind, b, engine, options)
                for p in definition["processors"]
                for kind, b in p.items()
                if b.get("engine", engine.name) == engine.name
            ],
            "on_failure": _on_failure(definition["on_failure"], only),
        }
        built[name] = engine.pipeline(body)
    return built


def to_json(body: dict[str, Any]) -> str:
    """Return a pipeline as a file's text."""
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"


def generate_scripts() -> dict[str, str]:
    """Compile the decoder's steps; return the files that are committed: path below the project's root, and text."""
    from allocfail.painless.scripts import step_script  # noqa: PLC0415 - needs mypy, which only developers have

    made: dict[str, str] = {}
    steps = [
        (body["tag"], body["step"])
        for processor in _yaml(content_path("pipelines/allocfail-event.yml"))["processors"]
        for body in processor.values()
        if "step" in body
    ]
    for number, (tag, step) in enumerate(steps):
        script = step_script(step, first=number == 0, last=number == len(steps) - 1)
        made[f"{_SCRIPTS}/{tag}.painless"] = script.source + "\n"
        made[f"{_SCRIPTS}/{tag}.json"] = json.dumps(script.constants, ensure_ascii=False, indent=1) + "\n"
    return made


def generate() -> dict[str, str]:
    """Return the generated files that are committed: their path below the project's root, and their text."""
    return {
        f"pipelines/generated/{product}/{name}.json": to_json(body)
        for product in DIALECTS
        for name, body in build(product).items()
    }
