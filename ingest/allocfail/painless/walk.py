"""Going through mypy's syntax tree. Its own visitors are compiled and cannot be subclassed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["children", "names_read", "walk"]

#: Where a kind of node keeps the nodes below it.
_BELOW: dict[str, tuple[str, ...]] = {
    "AssignmentExpr": ("target", "value"),
    "AssignmentStmt": ("lvalues", "rvalue"),
    "Block": ("body",),
    "CallExpr": ("callee", "args"),
    "ComparisonExpr": ("operands",),
    "ConditionalExpr": ("cond", "if_expr", "else_expr"),
    "DelStmt": ("expr",),
    "DictionaryComprehension": ("key", "value", "indices", "sequences", "condlists"),
    "ExpressionStmt": ("expr",),
    "ForStmt": ("index", "expr", "body", "else_body"),
    "GeneratorExpr": ("left_expr", "indices", "sequences", "condlists"),
    "IfStmt": ("expr", "body", "else_body"),
    "IndexExpr": ("base", "index"),
    "ListComprehension": ("generator",),
    "ListExpr": ("items",),
    "MemberExpr": ("expr",),
    "OperatorAssignmentStmt": ("lvalue", "rvalue"),
    "OpExpr": ("left", "right"),
    "ReturnStmt": ("expr",),
    "SetComprehension": ("generator",),
    "SetExpr": ("items",),
    "SliceExpr": ("begin_index", "end_index", "stride"),
    "StarExpr": ("expr",),
    "TupleExpr": ("items",),
    "UnaryExpr": ("expr",),
    "WhileStmt": ("expr", "body", "else_body"),
}


def children(node: Any) -> Iterator[Any]:
    """Yield the nodes directly below a node, in the order of the text."""
    if type(node).__name__ == "DictExpr":
        for key, value in node.items:
            if key is not None:
                yield key
            yield value
        return
    for name in _BELOW.get(type(node).__name__, ()):
        yield from _flat(getattr(node, name))


def _flat(found: Any) -> Iterator[Any]:
    if isinstance(found, (list, tuple)):
        for inner in found:
            yield from _flat(inner)
    elif found is not None:
        yield found


def walk(node: Any) -> Iterator[Any]:
    """Yield a node and all below it."""
    yield node
    for inner in children(node):
        yield from walk(inner)


def names_read(nodes: Iterable[Any]) -> list[str]:
    """Return the names that occur, once each, in order."""
    found: dict[str, None] = {}
    for node in nodes:
        for inner in walk(node):
            if type(inner).__name__ == "NameExpr":
                found[inner.name] = None
    return list(found)
