"""Rules and the sentences they hold: which apply to an event, and in words with its own numbers; the articles that do.

The rules are data (``kb/facts/verdict.yml``, the articles' front matter); see there for what a condition means.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from allocfail import facts
from allocfail.decoder.links import article_url

__all__ = ["Features", "articles", "fill", "first", "holds", "pieces", "wording"]

#: A feature's name and its value; a feature the event lacks is not in it.
Features = dict[str, str | int | bool]


def holds(when: dict[str, Any], features: Features) -> bool:
    """Whether every condition of ``when`` holds for ``features``."""
    for name, wanted in when.items():
        if name == "order_min":
            order = features.get("order")
            if not isinstance(order, int) or order < wanted:
                return False
        elif name == "order_max":
            order = features.get("order")
            if not isinstance(order, int) or order > wanted:
                return False
        else:
            value = features.get(name)
            if value is None or (value not in wanted if isinstance(wanted, list) else value != wanted):
                return False
    return True


@lru_cache(maxsize=1024)
def pieces(text: str) -> tuple[str, ...]:
    """Return a sentence cut at its placeholders: literal text, a name, literal text and so on."""
    out: list[str] = []
    at = 0
    while True:
        start = text.find("{", at)
        end = text.find("}", start)
        if start < 0 or end < 0:
            out.append(text[at:])
            return tuple(out)
        out.append(text[at:start])
        out.append(text[start + 1 : end])
        at = end + 1


def fill(text: str, values: dict[str, str]) -> str:
    """Replace every ``{name}`` in ``text`` by its value; one without a value stays as it is."""
    if "{" not in text:
        return text
    out = ""
    named = False
    for piece in pieces(text):
        if named:
            value = values.get(piece)
            out += value if value is not None else "{" + piece + "}"
        else:
            out += piece
        named = not named
    return out


def first(rules: list[dict[str, Any]], features: Features) -> dict[str, Any] | None:
    """Return the first rule that holds, None where none does."""
    for rule in rules:
        if holds(rule["when"], features):
            return rule
    return None


@cache
def wording() -> dict[str, dict[str, str]]:
    """Return words and half sentences of the verdict, by what they are for."""
    words: dict[str, dict[str, str]] = facts.load()["verdict"]["words"]
    return words


@cache
def _articles() -> list[dict[str, Any]]:
    articles: list[dict[str, Any]] = facts.load()["articles"]
    return articles


@lru_cache(maxsize=1024)
def _applying(items: tuple[tuple[str, str | int | bool], ...]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the articles that apply to these features, each with the rule by which it does."""
    features = dict(items)
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for article in _articles():
        rule = first(article["applies"], features)
        if rule is not None:
            found.append((article, rule))
    return found


def articles(features: Features, values: dict[str, str], base: str) -> list[dict[str, str]]:
    """Return ``allocfail.kb``: the articles that apply, the most direct one first, with links below ``base``."""
    found: list[dict[str, str]] = []
    for article, rule in _applying(tuple(features.items())):
        url = article_url(base, article["id"], rule.get("anchor") or "")
        found.append({"id": article["id"], "title": article["title"], "url": url, "why": fill(rule["why"], values)})
    return found
