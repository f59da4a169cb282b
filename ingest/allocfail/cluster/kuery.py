"""The part of the Kibana query language that the saved objects use, as the query that both products send for it.

`match` for a word, `match_phrase` for what is quoted, `exists` for a lone star, `range` for a comparison: so do Kibana
7.10 and OpenSearch Dashboards (src/plugins/data/common/es_query/kuery).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Tree", "parse", "query"]

#: A word for what it is, and what belongs to it: `("and", …)`, `("or", …)`, `("not", tree)`, `("exists", field)`,
#: `("is", field, value)`, `("phrase", field, value)`, `("range", field, comparison, value)`.
Tree = tuple[Any, ...]

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(>=|<=|[():<>])|([^\s():<>"]+))')
_COMPARISONS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


class _Parser:
    """Reads a text from left to right; `or` binds less than `and`, and that less than `not`."""

    def __init__(self, text: str) -> None:
        """Take the query's text."""
        self.tokens = [match[0].strip() for match in _TOKEN.finditer(text)]
        self.at = 0

    def peek(self) -> str:
        """Return the next token, empty at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        """Return the next token, which has to be ``wanted`` where that is given."""
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise ValueError(f"{wanted or 'more'} expected at token {self.at}: {' '.join(self.tokens)}")
        self.at += 1
        return token

    def joined(self, word: str, part: Callable[[], Tree]) -> Tree:
        """Return one part, or several that ``word`` stands between."""
        found = [part()]
        while self.peek() == word:
            self.take()
            found.append(part())
        return found[0] if len(found) == 1 else (word, *found)

    def either(self, leaf: Callable[[], Tree]) -> Tree:
        """Return parts of which any will do."""
        return self.joined("or", lambda: self.joined("and", lambda: self.one(leaf)))

    def one(self, leaf: Callable[[], Tree]) -> Tree:
        """Return what is negated, in parentheses, or a leaf."""
        if self.peek() == "not":
            self.take()
            return ("not", self.one(leaf))
        if self.peek() == "(":
            self.take()
            found = self.either(leaf)
            self.take(")")
            return found
        return leaf()

    def expression(self) -> Tree:
        """Return a field with what it is to be."""
        field, sign = self.take(), self.take()
        if sign != ":":
            return ("range", field, _COMPARISONS[sign], self.take())
        return self.one(lambda: self.value(field))

    def value(self, field: str) -> Tree:
        """Return one value that a field is to have."""
        word = self.take()
        if word == "*":
            return ("exists", field)
        return ("phrase", field, word[1:-1]) if word.startswith('"') else ("is", field, word)


def parse(text: str) -> Tree:
    """Return a query's parts. Raises :class:`ValueError` for what is beyond the part of the language that is used."""
    parser = _Parser(text)
    tree = parser.either(parser.expression)
    if parser.peek():
        raise ValueError(f"not understood from token {parser.at} on: {text}")
    return tree


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
