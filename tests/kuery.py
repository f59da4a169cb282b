"""What a query of the Kibana query language means for a document, told from the document alone."""

from __future__ import annotations

from typing import Any

from allocfail.cluster.kuery import Tree, parse, query

__all__ = ["Tree", "fields", "holds", "parse", "query", "values"]


def fields(tree: Tree) -> set[str]:
    """Return the fields that a query names."""
    if tree[0] in {"and", "or", "not"}:
        return {name for inner in tree[1:] for name in fields(inner)}
    return {tree[1]}


def values(document: dict[str, Any], dotted: str) -> list[Any]:
    """Return a field's values, those inside arrays of objects included; a multi-field has its parent's."""
    found: list[Any] = [document]
    for name in dotted.removesuffix(".keyword").split("."):
        found = [value.get(name) for value in found if isinstance(value, dict)]
        found = [leaf for value in found for leaf in (value if isinstance(value, list) else [value])]
    return [value for value in found if value is not None]


def holds(tree: Tree, document: dict[str, Any]) -> bool:
    """Say whether a document is what a query looks for, by its values alone; times are not compared."""
    kind = tree[0]
    if kind == "and":
        return all(holds(inner, document) for inner in tree[1:])
    if kind == "or":
        return any(holds(inner, document) for inner in tree[1:])
    if kind == "not":
        return not holds(tree[1], document)
    found = values(document, tree[1])
    if kind == "exists":
        return bool(found)
    if kind == "range":
        if tree[1] == "@timestamp":
            raise NotImplementedError(tree)
        assert tree[2] == "gte"
        return any(value >= int(tree[3]) for value in found)
    words = [str(value).lower() if isinstance(value, bool) else str(value) for value in found]
    if kind == "phrase" and tree[1] == "message":
        return any(tree[2].lower() in word.lower() for word in words)
    return tree[2] in words
