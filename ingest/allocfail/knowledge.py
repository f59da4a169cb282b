"""What the knowledge base says of an event: the verdict, and the articles that apply, in words with its own numbers.

The rules are data (``kb/facts/verdict.yml``, the articles' front matter); see there for what a condition means.
"""

from __future__ import annotations

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


def verdict(features: Features, values: dict[str, str]) -> dict[str, Any]:
    """Return ``allocfail.verdict``: ``values`` fill the sentences' placeholders."""
    rules = facts.load()["verdict"]
    out: dict[str, Any] = {}
    cause = _first(rules["cause"], features)
    if cause is not None:
        out["cause"] = cause["value"]
        out["summary"] = fill(cause["summary"], values)
    zone = _first(rules["zone_reclaim"], features)
    if zone is not None:
        out["zone_reclaim_mode"] = zone["value"]
        out["zone_reclaim_reason"] = fill(zone["reason"], values)
    severity = _first(rules["severity"], features)
    if severity is not None:
        out["severity"] = severity["value"]
    remedies = _first(rules["remedies"], features)
    if remedies is not None:
        out["remedies"] = list(remedies["values"])
    return out


def articles(features: Features, values: dict[str, str], base: str) -> list[dict[str, str]]:
    """Return ``allocfail.kb``: the articles that apply, the most direct one first, with links below ``base``."""
    found: list[dict[str, str]] = []
    for article in facts.load()["articles"]:
        rule = _first(article["applies"], features)
        if rule is not None:
            anchor = rule.get("anchor")
            url = f"{base}{article['id']}.html" + (f"#{anchor}" if anchor else "")
            found.append({"id": article["id"], "title": article["title"], "url": url, "why": fill(rule["why"], values)})
    return found
