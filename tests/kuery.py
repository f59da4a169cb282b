"""The part of the Kibana query language that the saved objects use: as a query, and as a test of a document.

As a query it is what Kibana 7.10 and OpenSearch Dashboards send for it (es_query/kuery): `match` for a word,
`match_phrase` for what is quoted, `exists` for a lone star, `range` for a comparison.
"""

from __future__ import annotations

import re
from typing import Any

Tree = tuple[Any, ...]

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(>=|<=|[():<>])|([^\s():<>"]+))')


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = [match[0].strip() for match in _TOKEN.finditer(text)]
        assert "".join(self.tokens) == re.sub(r'\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', "", text), text
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        assert token
        assert not wanted or token == wanted, (token, wanted)
        self.at += 1
        return token

    def either(self, inner: Any) -> Tree:
        found = [self.both(inner)]
        while self.peek() == "or":
            self.take()
            found.append(self.both(inner))
        return found[0] if len(found) == 1 else ("or", *found)

    def both(self, inner: Any) -> Tree:
        found = [self.one(inner)]
        while self.peek() == "and":
            self.take()
            found.append(self.one(inner))
        return found[0] if len(found) == 1 else ("and", *found)

    def one(self, inner: Any) -> Tree:
        if self.peek() == "not":
            self.take()
            return ("not", self.one(inner))
        if self.peek() == "(":
            self.take()
            found = self.either(inner)
            self.take(")")
            return found
        leaf: Tree = inner()
        return leaf

    def expression(self) -> Tree:
        field, sign = self.take(), self.take()
        if sign != ":":
            return ("range", field, {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}[sign], self.take())
        return self.one(lambda: self.value(field))

    def value(self, field: str) -> Tree:
        word = self.take()
        if word == "*":
            return ("exists", field)
        return ("phrase", field, word[1:-1]) if word.startswith('"') else ("is", field, word)


def parse(text: str) -> Tree:
    parser = _Parser(text)
    tree = parser.either(parser.expression)
    assert parser.at == len(parser.tokens), text
    return tree


def fields(tree: Tree) -> set[str]:
    """Return the fields that a query names."""
    if tree[0] in {"and", "or", "not"}:
        return {name for inner in tree[1:] for name in fields(inner)}
    return {tree[1]}


def query(tree: Tree) -> dict[str, Any]:
    """Return the query that both products send."""
    kind = tree[0]
    if kind == "and":
        return {"bool": {"filter": [query(inner) for inner in tree[1:]]}}
    if kind == "not":
        return {"bool": {"must_not": query(tree[1])}}
    if kind == "or":
        leaves = [query(inner) for inner in tree[1:]]
    elif kind == "exists":
        leaves = [{"exists": {"field": tree[1]}}]
    elif kind == "range":
        leaves = [{"range": {tree[1]: {tree[2]: tree[3]}}}]
    else:
        leaves = [{"match_phrase" if kind == "phrase" else "match": {tree[1]: tree[2]}}]
    return {"bool": {"should": leaves, "minimum_should_match": 1}}


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
