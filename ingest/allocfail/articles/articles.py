"""The knowledge base: articles in Markdown, each with a front matter that says which events it applies to.

The articles are content (``kb/articles/*.md``); this module loads, checks and searches them. What applies to an event
is decided from the compiled front matter (:mod:`allocfail.facts`), not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any

from allocfail.content import content_path
from allocfail.decoder.links import article_url
from allocfail.errors import AllocfailError, NotFoundError
from allocfail.terminal import printable
from allocfail.urls import DEFAULT_URL, URL_VARIABLE, base_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "ARTICLES",
    "BODY_CAP",
    "DEFAULT_URL",
    "URL_VARIABLE",
    "WEIGHTS",
    "Article",
    "Heading",
    "Hit",
    "Rule",
    "absolute",
    "article",
    "article_url",
    "base_url",
    "document",
    "front_matter",
    "load",
    "parse",
    "plain",
    "printable",
    "search",
    "search_fields",
    "tokens",
]

#: Folder of the articles, relative to the content root.
ARTICLES = "kb/articles"

#: Features of an event that a rule's ``when`` may name, and the type of their values.
FEATURES: dict[str, type] = {
    "kind": str,
    "may_sleep": bool,
    "context": str,
    "has_order": bool,
    "order": int,
    "zones": bool,
    "complete": bool,
    "vmalloc_reason": str,
    "oom_constraint": str,
    "order_min": int,
    "order_max": int,
}
#: Placeholders of ``why``, each with the conditions of which one must stand in ``when`` so that the value is there.
PLACEHOLDERS: dict[str, tuple[str, ...]] = {
    "order": ("order", "order_min", "order_max"),
    "pages": ("order", "order_min", "order_max"),
    "gfp": ("may_sleep",),
    "mask": ("may_sleep",),
}

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_HEADING = re.compile(r"(#{2,4}) +(.+)", re.ASCII)
_ANCHOR = re.compile(r"(.*?) *\{#([a-z0-9-]+)\} *", re.ASCII)
_LINK = re.compile(r"\]\((?=[a-z0-9#])([a-z0-9-]+\.html)?(#[a-z0-9-]+)?\)", re.ASCII)
_TOKEN = re.compile(r"[a-z0-9]+", re.ASCII)
_KEYS = frozenset({"id", "title", "summary", "priority", "keywords", "applies"})

#: What a word is worth where it is found; a reader looks for the title first. In the body it counts each time.
WEIGHTS = {"title": 16, "keywords": 10, "headings": 6, "summary": 5, "body": 1}
#: A word that the body repeats more often than this says no more about what the article is about.
BODY_CAP = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an article: the events it speaks of, the section to read and the reason."""

    when: Mapping[str, Any]
    """Feature to value (equal) or list of values (any of); ``order_min`` and ``order_max`` bound the order."""
    anchor: str
    """The section's anchor on the article's page."""
    why: str
    """Why the article applies, with placeholders from :data:`PLACEHOLDERS`."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of an article."""

    level: int
    """2 to 4."""
    text: str
    """Without Markdown's number signs and the anchor."""
    anchor: str
    """Stable: links from indexed documents end in it. Empty where a heading of level 3 or 4 has none."""


@dataclass(frozen=True, slots=True)
class Article:
    """One article, checked."""

    id: str
    title: str
    summary: str
    priority: int
    """The article with the lowest comes first where several apply."""
    keywords: tuple[str, ...]
    applies: tuple[Rule, ...]
    """Evaluated in order: the first that matches gives anchor and reason."""
    body: str
    """Markdown, without front matter; headings keep their ``{#anchor}``."""
    headings: tuple[Heading, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """An article found by :func:`search`."""

    article: Article
    score: int
    anchor: str
    """The section whose heading holds most of the words, or empty."""


def parse(name: str, text: str) -> Article:
    """Return the article that ``text`` (the content of ``name``) holds.

    Raises :class:`AllocfailError`, with the file's name and what is wrong, for front matter that does not keep to the
    grammar, an anchor that no heading has, or a placeholder that no condition guarantees.
    """
    import yaml  # noqa: PLC0415 - decoding commands never parse YAML

    head, separator, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not separator:
        raise AllocfailError(f"{name}: no front matter between two lines of three dashes")
    try:
        meta = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise AllocfailError(f"{name}: front matter is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(meta, dict) or set(meta) != _KEYS:
        raise AllocfailError(f"{name}: front matter needs exactly {', '.join(sorted(_KEYS))}")
    for key in ("id", "title", "summary"):
        if not isinstance(meta[key], str) or not meta[key].strip() or "\n" in meta[key].strip():
            raise AllocfailError(f"{name}: {key} is not one line of text")
    if not _ID.fullmatch(meta["id"]):
        raise AllocfailError(f"{name}: id is not of lower-case letters, digits and single dashes")
    if type(meta["priority"]) is not int:
        raise AllocfailError(f"{name}: priority is not an integer")
    keywords, applies = meta["keywords"], meta["applies"]
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
        raise AllocfailError(f"{name}: keywords is not a list of words")
    if not isinstance(applies, list):
        raise AllocfailError(f"{name}: applies is not a list of rules")
    headings = _headings(name, body)
    anchors = {heading.anchor for heading in headings if heading.anchor}
    return Article(
        id=meta["id"],
        title=meta["title"].strip(),
        summary=meta["summary"].strip(),
        priority=meta["priority"],
        keywords=tuple(keywords),
        applies=tuple(_rule(f"{name}: rule {number}", rule, anchors) for number, rule in enumerate(applies, 1)),
        body=body.strip() + "\n",
        headings=headings,
    )


def _headings(name: str, body: str) -> tuple[Heading, ...]:
    headings: list[Heading] = []
    fenced = False
    for line in body.splitlines():
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        match = None if fenced else _HEADING.fullmatch(line)
        if match is None:
            continue
        level, text, anchor = len(match[1]), match[2], ""
        if explicit := _ANCHOR.fullmatch(text):
            text, anchor = explicit[1], explicit[2]
        elif level == 2:
            raise AllocfailError(f"{name}: section {text!r} has no explicit anchor, so links to it would not last")
        if anchor and any(anchor == heading.anchor for heading in headings):
            raise AllocfailError(f"{name}: anchor {anchor!r} stands twice")
        headings.append(Heading(level, text, anchor))
    return tuple(headings)


def _rule(where: str, rule: object, anchors: set[str]) -> Rule:
    if not isinstance(rule, dict) or set(rule) != {"when", "anchor", "why"} or not isinstance(rule["when"], dict):
        raise AllocfailError(f"{where} needs exactly when, anchor and why")
    when: dict[str, Any] = rule["when"]
    for feature, wanted in when.items():
        kind = FEATURES.get(feature)
        if kind is None:
            raise AllocfailError(f"{where}: no feature of an event is called {feature!r}")
        values = wanted if isinstance(wanted, list) and not feature.startswith("order_m") else [wanted]
        if not values or any(type(value) is not kind for value in values):
            raise AllocfailError(f"{where}: {feature} wants {kind.__name__}")
    if rule["anchor"] not in anchors:
        raise AllocfailError(f"{where}: no section has the anchor {rule['anchor']!r}")
    if not isinstance(rule["why"], str) or "{{" in rule["why"] or "}}" in rule["why"]:
        raise AllocfailError(f"{where}: why is not text with single braces")
    try:
        used = [(part[1], part[2], part[3]) for part in Formatter().parse(rule["why"]) if part[1] is not None]
    except ValueError as error:
        raise AllocfailError(f"{where}: why: {error}") from error
    for field, specification, conversion in used:
        if field not in PLACEHOLDERS or specification or conversion:
            raise AllocfailError(f"{where}: why has the unknown placeholder {{{field}}}")
        if not any(condition in when for condition in PLACEHOLDERS[field]):
            raise AllocfailError(f"{where}: nothing in when guarantees that {{{field}}} has a value")
    return Rule(when=when, anchor=rule["anchor"], why=" ".join(rule["why"].split()))


def load(folder: Path | None = None) -> tuple[Article, ...]:
    """Return the articles of ``folder`` (default: the project's own), lowest priority number first, then by id.

    Raises :class:`AllocfailError` for a bad article, or an id that is not its file's name.
    """
    articles = []
    for path in sorted((folder or content_path(ARTICLES)).glob("*.md")):
        try:
            found = parse(path.name, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise AllocfailError(f"{path.name}: not UTF-8") from error
        if found.id != path.stem:
            raise AllocfailError(f"{path.name}: the id is {found.id}")
        articles.append(found)
    return tuple(sorted(articles, key=lambda item: (item.priority, item.id)))


def article(identifier: str) -> Article:
    """Return the article called ``identifier``; raises :class:`NotFoundError` where there is none."""
    articles = load()
    for found in articles:
        if found.id == identifier:
            return found
    raise NotFoundError(f"no article {printable(identifier)!r}: there are {', '.join(item.id for item in articles)}")


def front_matter() -> list[dict[str, Any]]:
    """Return what decoders need of the articles: id, title, priority and rules, in the order in which they apply."""
    return [
        {
            "id": item.id,
            "title": item.title,
            "priority": item.priority,
            "applies": [{"when": dict(rule.when), "anchor": rule.anchor, "why": rule.why} for rule in item.applies],
        }
        for item in load()
    ]


def document(item: Article, base: str) -> dict[str, Any]:
    """Return an article as one JSON document, as an index holds it and ``--format json`` prints it."""
    return {
        "id": item.id,
        "title": item.title,
        "summary": item.summary,
        "priority": item.priority,
        "keywords": list(item.keywords),
        "url": article_url(base, item.id),
        "headings": [
            {"text": heading.text, "url": article_url(base, item.id, heading.anchor)}
            for heading in item.headings
            if heading.anchor
        ],
        "body": plain(item.body),
    }


def plain(body: str) -> str:
    """Return an article's Markdown without heading anchors, which only renderers of HTML understand."""
    lines = []
    for line in body.splitlines():
        match = _ANCHOR.fullmatch(line) if line.startswith("#") else None
        lines.append(match[1] if match else line)
    return "\n".join(lines) + "\n"


def absolute(item: Article, base: str) -> str:
    """Return an article's Markdown with links to sections and other articles made absolute below ``base``."""

    def address(match: re.Match[str]) -> str:
        identifier = match[1].removesuffix(".html") if match[1] else item.id
        return f"]({article_url(base, identifier, (match[2] or '').removeprefix('#'))})"

    return _LINK.sub(address, plain(item.body))


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
