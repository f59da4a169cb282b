"""Makes the ingest pipelines as the JSON an engine takes, from YAML, Painless in its own files, and facts.

A definition in ``pipelines/*.yml`` reads like the pipeline it becomes, with three additions: ``step`` of a script
processor names the function of the decoder that it runs, compiled (:mod:`allocfail.painless.scripts`);
``if: {file: …}`` takes a condition from a file, and ``include`` takes a list from another YAML file.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail.content import content_path
from allocfail.decoder.options import Options
from allocfail.errors import InputError
from allocfail.painless.values import as_param
from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DIALECTS", "SOURCE_LIMIT", "Dialect", "build", "generate", "generate_scripts", "to_json"]

#: Painless refuses a longer source (``script.max_size_in_bytes``, 65,535 by default in both engines).
SOURCE_LIMIT = 65_535
#: Where the compiled scripts are, each as its source and the facts that it reads.
_SCRIPTS = "pipelines/generated/scripts"


class Dialect:
    """What an engine takes. Elasticsearch; another engine overrides what it does differently."""

    name = "elasticsearch"

    def pipeline(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a pipeline's body as this engine takes it."""
        return {**body, "_meta": {"managed_by": "allocfail"}}


class OpenSearch(Dialect):
    """OpenSearch refuses a pipeline with ``_meta``."""

    name = "opensearch"

    def pipeline(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without what OpenSearch does not know."""
        return body


DIALECTS: dict[str, Dialect] = {d.name: d for d in (Dialect(), OpenSearch())}


def _yaml(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - only the generator reads YAML

    with path.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


def _condense(source: str) -> str:
    """Return Painless without comments, indentation and empty lines: a script's length is bounded, a reader's is not.

    No string in these scripts holds ``//``.
    """
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def _painless(name: str) -> str:
    return _condense(content_path(f"pipelines/painless/{name}").read_text(encoding="utf-8"))


def _script(tag: str) -> tuple[str, dict[str, Any]]:
    """Return the source of a compiled script, and the facts that it reads."""
    source = content_path(f"{_SCRIPTS}/{tag}.painless").read_text(encoding="utf-8")
    with content_path(f"{_SCRIPTS}/{tag}.json").open(encoding="utf-8") as file:
        known: dict[str, Any] = json.load(file)
    return _condense(source), known


def _processor(kind: str, body: dict[str, Any], kb_url: str) -> dict[str, Any]:
    body = dict(body)
    condition = body.get("if")
    if isinstance(condition, dict):
        body["if"] = _painless(condition["file"])
    if kind == "script" and body.pop("step", None):
        source, known = _script(body["tag"])
        if len(source.encode()) > SOURCE_LIMIT:
            raise InputError(f"script {body['tag']} has {len(source.encode())} bytes, more than {SOURCE_LIMIT}")
        params = {"known": known, "options": as_param(Options(kb_url=kb_url))}
        body |= {"lang": "painless", "source": source, "params": params}
    return {kind: body}


def build(product: str, *, kb_url: str = DEFAULT_URL) -> dict[str, dict[str, Any]]:
    """Return the pipelines' bodies by id, as ``product`` (``elasticsearch`` or ``opensearch``) takes them.

    A pipeline stands behind those that it calls; the one to point at is ``allocfail``, the last. ``kb_url`` is where
    the articles are served. Raises :class:`InputError` for another product.
    """
    dialect = DIALECTS.get(product)
    if dialect is None:
        raise InputError(f"not an engine: {product}; there are {', '.join(DIALECTS)}")
    built: dict[str, dict[str, Any]] = {}
    for name in ("allocfail-event", "allocfail"):
        definition = _yaml(content_path(f"pipelines/{name}.yml"))
        failure = definition["on_failure"]
        if isinstance(failure, dict):
            failure = _yaml(content_path(f"pipelines/{failure['include']}"))
        body = {
            "description": definition["description"],
            "version": 1,
            "processors": [_processor(kind, b, kb_url) for p in definition["processors"] for kind, b in p.items()],
            "on_failure": failure,
        }
        built[name] = dialect.pipeline(body)
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
