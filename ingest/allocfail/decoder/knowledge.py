"""What the knowledge base says of an event: the verdict, and the articles that apply, in words with its own numbers.

The rules are data (``kb/facts/verdict.yml``, the articles' front matter); see there for what a condition means.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from allocfail import facts

__all__ = ["Features", "articles", "fill", "holds", "verdict"]

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


def fill(text: str, values: dict[str, str]) -> str:
    """Replace every ``{name}`` in ``text`` by its value; one without a value stays as it is."""
    if "{" not in text:
        return text
    out = ""
    at = 0
    while True:
        start = text.find("{", at)
        end = text.find("}", start)
        if start < 0 or end < 0:
            return out + text[at:]
        value = values.get(text[start + 1 : end])
        out += text[at:start] + (value if value is not None else text[start : end + 1])
        at = end + 1


def _first(rules: list[dict[str, Any]], features: Features) -> dict[str, Any] | None:
    for rule in rules:
        if holds(rule["when"], features):
            return rule
    return None


@cache
def _rules() -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, Any] = facts.load()["verdict"]
    return {name: rules for name, rules in lists.items() if isinstance(rules, list)}


@cache
def _articles() -> list[dict[str, Any]]:
    articles: list[dict[str, Any]] = facts.load()["articles"]
    return articles


@lru_cache(maxsize=1024)
def _chosen(items: tuple[tuple[str, str | int | bool], ...]) -> dict[str, dict[str, Any] | None]:
    """Return the rule of each list that applies to these features; a log's events differ in few of them."""
    features = dict(items)
    rules = _rules()
    return {name: _first(rules[name], features) for name in ("cause", "zone_reclaim", "severity", "remedies")}


@lru_cache(maxsize=1024)
def _applying(items: tuple[tuple[str, str | int | bool], ...]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the articles that apply to these features, each with the rule by which it does."""
    features = dict(items)
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for article in _articles():
        rule = _first(article["applies"], features)
        if rule is not None:
            found.append((article, rule))
    return found


def verdict(features: Features, values: dict[str, str]) -> dict[str, Any]:
    """Return ``allocfail.verdict``: ``values`` fill the sentences' placeholders."""
    chosen = _chosen(tuple(features.items()))
    out: dict[str, Any] = {}
    cause = chosen["cause"]
    if cause is not None:
        out["cause"] = cause["value"]
        out["summary"] = fill(cause["summary"], values)
    zone = chosen["zone_reclaim"]
    if zone is not None:
        out["zone_reclaim_mode"] = zone["value"]
        out["zone_reclaim_reason"] = fill(zone["reason"], values)
    severity = chosen["severity"]
    if severity is not None:
        out["severity"] = severity["value"]
    remedies = chosen["remedies"]
    if remedies is not None:
        out["remedies"] = list(remedies["values"])
    return out


def articles(features: Features, values: dict[str, str], base: str) -> list[dict[str, str]]:
    """Return ``allocfail.kb``: the articles that apply, the most direct one first, with links below ``base``."""
    found: list[dict[str, str]] = []
    for article, rule in _applying(tuple(features.items())):
        anchor = rule.get("anchor")
        url = f"{base}{article['id']}.html" + (f"#{anchor}" if anchor else "")
        found.append({"id": article["id"], "title": article["title"], "url": url, "why": fill(rule["why"], values)})
    return found
