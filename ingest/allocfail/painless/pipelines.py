"""Makes the ingest pipelines as the JSON an engine takes, from YAML, Painless in its own files, and facts.

A definition in ``pipelines/*.yml`` reads like the pipeline it becomes, with three additions: ``sources`` of a script
processor names files of ``pipelines/painless`` whose functions make up its source, the last one holding what runs;
``facts`` names what of ``kb/facts`` it gets as ``params.facts``; ``if: {file: …}`` takes a condition from a file, and
``include`` takes a list from another YAML file.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.content import content_path
from allocfail.errors import InputError
from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DIALECTS", "SOURCE_LIMIT", "Dialect", "build", "generate", "to_json"]

#: Painless refuses a longer source (``script.max_size_in_bytes``, 65,535 by default in both engines).
SOURCE_LIMIT = 65_535


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

    No string in these files holds ``//``.
    """
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def _painless(name: str) -> str:
    return _condense(content_path(f"pipelines/painless/{name}").read_text(encoding="utf-8"))


def _mapped(names: list[str]) -> dict[str, bool]:
    """Return a list of names as a map, where membership is one look-up."""
    return dict.fromkeys(names, True)


def script_facts(names: list[str]) -> dict[str, Any]:
    """Return ``params.facts``: the compiled facts of these names, lists that are only asked for members as maps."""
    loaded = facts.load()
    out: dict[str, Any] = {}
    for name in names:
        value = loaded[name]
        if name == "frames":
            value = {
                "plumbing": _mapped([f for group in value["plumbing"].values() for f in group]),
                "page": _mapped(value["plumbing"]["page"]),
                "vmalloc": _mapped(value["plumbing"]["vmalloc"]),
                **{k: _mapped(value[k]) for k in ("entry", "softirq", "interrupt", "process", "outermost", "dump")},
                "failure": _mapped(value["failure"]),
                "abi_prefixes": value["abi_prefixes"],
            }
        out[name] = value
    return out


def _processor(kind: str, body: dict[str, Any], kb_url: str) -> dict[str, Any]:
    body = dict(body)
    condition = body.get("if")
    if isinstance(condition, dict):
        body["if"] = _painless(condition["file"])
    if kind == "script" and "sources" in body:
        parts = [_painless(f"{name}.painless") for name in body.pop("sources")]
        source = "\n".join(parts)
        if len(source.encode()) > SOURCE_LIMIT:
            raise InputError(f"script {body['tag']} has {len(source.encode())} bytes, more than {SOURCE_LIMIT}")
        params: dict[str, Any] = {"facts": script_facts(body.pop("facts", []))}
        params |= {"newline": "\n", "tab": "\t", "carriage_return": "\r", "nbsp": "\u00a0", "kb_url": kb_url}
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


def generate() -> dict[str, str]:
    """Return the generated files that are committed: their path below the project's root, and their text."""
    return {
        f"pipelines/generated/{product}/{name}.json": to_json(body)
        for product in DIALECTS
        for name, body in build(product).items()
    }
