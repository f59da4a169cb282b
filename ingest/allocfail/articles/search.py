"""Which sections of the articles hold the words of a question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocfail.articles.articles import Article, load, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BODY_CAP", "WEIGHTS", "Hit", "search", "search_fields", "tokens"]

_TOKEN = re.compile(r"[a-z0-9]+", re.ASCII)

#: What a word is worth where it is found; a reader looks for the title first. In the body it counts each time.
WEIGHTS = {"title": 16, "keywords": 10, "headings": 6, "summary": 5, "body": 1}
#: A word that the body repeats more often than this says no more about what the article is about.
BODY_CAP = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """An article found by :func:`search`."""

    article: Article
    score: int
    anchor: str
    """The section whose heading holds most of the words, or empty."""


def tokens(text: str) -> list[str]:
    """Return the words of ``text`` that searching compares: lower case, ASCII letters and digits only.

    ``zone_reclaim_mode`` and ``zone-reclaim-mode`` give the same words. The static site's script does the same.
    """
    return _TOKEN.findall(text.lower())


def search_fields(item: Article) -> dict[str, list[str]]:
    """Return the words of each part of an article that :data:`WEIGHTS` weighs."""
    return {
        "title": tokens(item.title) + tokens(item.id),
        "keywords": tokens(" ".join(item.keywords)),
        "headings": tokens(" ".join(heading.text for heading in item.headings)),
        "summary": tokens(item.summary),
        "body": tokens(plain(item.body)),
    }


def search(words: Iterable[str], articles: Sequence[Article] | None = None) -> list[Hit]:
    """Return the articles that hold ``words``, best first.

    A word matches where it begins a word of the text. Articles that hold all of them shut out those that hold some.
    """
    wanted = list(dict.fromkeys(token for word in words for token in tokens(word)))
    ranked: list[tuple[int, Hit]] = []
    for item in load() if articles is None else articles:
        fields = search_fields(item)
        score = matched = 0
        for word in wanted:
            counts = {name: sum(token.startswith(word) for token in found) for name, found in fields.items()}
            if any(counts.values()):
                matched += 1
                score += sum(WEIGHTS[name] for name, count in counts.items() if count and name != "body")
                score += WEIGHTS["body"] * min(counts["body"], BODY_CAP)
        if matched:
            ranked.append((matched, Hit(item, score, _section(item, wanted))))
    most = max((matched for matched, _ in ranked), default=0)
    if most == len(wanted):
        ranked = [entry for entry in ranked if entry[0] == most]
    ranked.sort(key=lambda entry: (-entry[0], -entry[1].score, entry[1].article.priority, entry[1].article.id))
    return [hit for _, hit in ranked]


def _section(item: Article, wanted: Sequence[str]) -> str:
    """Return the anchor of the section whose heading holds most of the words; empty where none holds any."""
    best, anchor = 0, ""
    for heading in item.headings:
        found = tokens(heading.text)
        count = sum(any(token.startswith(word) for token in found) for word in wanted)
        if heading.anchor and count > best:
            best, anchor = count, heading.anchor
    return anchor
