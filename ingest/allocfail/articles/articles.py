"""The knowledge base: articles in Markdown, each with a front matter that says which events it applies to.

The articles are content (``kb/articles/*.md``); this module loads and checks them. What applies to an event
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
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "ARTICLES",
    "DEFAULT_URL",
    "LANGUAGES",
    "URL_VARIABLE",
    "Article",
    "Heading",
    "Rule",
    "Section",
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
    "section",
    "sections",
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
    "vmalloc": str,
    "oom_constraint": str,
    "cause": str,
    "severity": str,
    "zone_reclaim": str,
    "reclaimer": bool,
    "noretry": bool,
    "low": bool,
    "receive": bool,
    "suspend": bool,
    "crash_kernel": bool,
    "interrupt": bool,
    "cma": bool,
    "highatomic": bool,
    "lowmem_reserve": bool,
    "order-loop": bool,
    "boost": bool,
    "zone_open": bool,
    "zone_at_limit": bool,
    "zone_below": bool,
    "zone_lowmem_reserve": bool,
    "zone_cma": bool,
    "zone_highatomic": bool,
    "zone_boost": bool,
    "zone_no_block": bool,
    "zone_block_reserved": bool,
    "zone_order_loop": bool,
    "zone_empty": bool,
    "zone_unknown": bool,
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
_LINK = re.compile(r"\]\((?=[a-z0-9#])(?P<page>[a-z0-9-]+\.html)?(?P<anchor>#[a-z0-9-]+)?\)", re.ASCII)
#: The same with its words.
_LINKED = re.compile(rf"\[(?P<words>[^\]]+){_LINK.pattern}", re.ASCII)
#: A picture of the project, on a line of its own.
_PICTURE = re.compile(r"!\[([^\]]*)\]\(\.\./figures/[a-z0-9-]+\.svg\)", re.ASCII)
_FENCES = ("```", "~~~")
_KEYS = frozenset({"id", "title", "summary", "priority", "keywords", "applies"})
#: A translation names its language and the article that it translates.
_TRANSLATION = frozenset({"lang", "translates"})
#: Languages that articles may be written in, as HTML names them.
LANGUAGES = ("en", "zh")


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
    lang: str = "en"
    """One of :data:`LANGUAGES`."""
    translates: str = ""
    """The id of the article that this one translates, or empty."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of an article and the text below it, up to the next heading."""

    anchor: str
    """Empty for what stands before the first heading, and below headings without an anchor of their own."""
    title: str
    level: int
    """0 before the first heading, else 2 to 4."""
    text: str
    """Markdown, without the heading."""


def parse(name: str, text: str) -> Article:  # noqa: C901 - a check a line
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
    if not isinstance(meta, dict) or set(meta) not in (_KEYS, _KEYS | _TRANSLATION):
        keys, more = ", ".join(sorted(_KEYS)), " and ".join(sorted(_TRANSLATION))
        raise AllocfailError(f"{name}: front matter needs exactly {keys} (a translation also {more})")
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
    lang, translates = meta.get("lang", "en"), meta.get("translates", "")
    if lang not in LANGUAGES or not isinstance(translates, str) or bool(translates) == (lang == "en"):
        raise AllocfailError(f"{name}: lang is not one of {', '.join(LANGUAGES)}, or translates is no id")
    if translates and applies:
        raise AllocfailError(f"{name}: a translation has no rules, the article that it translates has them")
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
        lang=lang,
        translates=translates,
    )


def _heading(line: str) -> Heading | None:
    match = _HEADING.fullmatch(line)
    if match is None:
        return None
    explicit = _ANCHOR.fullmatch(match[2])
    return Heading(len(match[1]), explicit[1], explicit[2]) if explicit else Heading(len(match[1]), match[2], "")


def sections(body: str) -> tuple[Section, ...]:
    """Return an article's Markdown cut at its headings, in order; the first section has no heading and may be empty."""
    found: list[tuple[Heading, list[str]]] = [(Heading(0, "", ""), [])]
    fenced = False
    for line in body.splitlines():
        if line.strip().startswith(_FENCES):
            fenced = not fenced
        heading = None if fenced else _heading(line)
        if heading is not None:
            found.append((heading, []))
        else:
            found[-1][1].append(line)
    return tuple(Section(head.anchor, head.text, head.level, "\n".join(lines).strip()) for head, lines in found)


def section(item: Article, anchor: str) -> str:
    """Return the Markdown of the section with ``anchor``, its heading and those below it included.

    Raises :class:`NotFoundError` where the article has none.
    """
    lines: list[str] = []
    level = 0
    for part in sections(item.body):
        if level and part.level <= level:
            break
        if not level and (not part.anchor or part.anchor != anchor):
            continue
        level = level or part.level
        lines += [f"{'#' * part.level} {part.title}", "", part.text, ""]
    if not level:
        there = ", ".join(heading.anchor for heading in item.headings if heading.anchor)
        raise NotFoundError(f"{item.id} has no section {printable(anchor)!r}: there are {there}")
    return "\n".join(lines).strip() + "\n"


def _headings(name: str, body: str) -> tuple[Heading, ...]:
    headings: list[Heading] = []
    for part in sections(body)[1:]:
        level, text, anchor = part.level, part.title, part.anchor
        if not anchor and level == 2:
            raise AllocfailError(f"{name}: section {text!r} has no explicit anchor, so links to it would not last")
        if anchor and any(anchor == heading.anchor for heading in headings):
            raise AllocfailError(f"{name}: anchor {anchor!r} stands twice")
        headings.append(Heading(level, text, anchor))
    return tuple(headings)


def _rule(where: str, rule: object, anchors: set[str]) -> Rule:  # noqa: C901 - a check a line
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
    there = {item.id for item in articles}
    for item in articles:
        if item.translates and item.translates not in there:
            raise AllocfailError(f"{item.id}.md: translates {item.translates}, which is no article")
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
        if item.applies
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


def documents(item: Article, base: str) -> list[dict[str, Any]]:
    """Return an article as the index of the articles holds it: a document for it, and one for each of its sections.

    The article's own says what it is about, begins with its answer, and keeps the whole text.
    """
    found = sections(item.body)
    first = next((number for number, part in enumerate(found) if part.level == 2), 0)
    always = {"article": item.id, "lang": item.lang, "title": item.title, "priority": item.priority}
    made: list[dict[str, Any]] = [
        {
            **always,
            "id": item.id,
            "summary": item.summary,
            "keywords": list(item.keywords),
            "url": article_url(base, item.id),
            "body": "\n\n".join(part.text for part in found[: first + 1] if part.text),
            "whole": plain(item.body),
        }
    ]
    for part in found:
        if part.anchor:
            made.append(
                {
                    **always,
                    "id": f"{item.id}.{part.anchor}",
                    "anchor": part.anchor,
                    "heading": part.title,
                    "url": article_url(base, item.id, part.anchor),
                    "body": part.text,
                }
            )
        elif part.level:
            made[-1]["body"] = f"{made[-1]['body']}\n\n{'#' * part.level} {part.title}\n\n{part.text}".strip()
    return made


def plain(body: str) -> str:
    """Return an article's Markdown without heading anchors, which only renderers of HTML understand."""
    lines = []
    for line in body.splitlines():
        match = _ANCHOR.fullmatch(line) if line.startswith("#") else None
        lines.append(match[1] if match else line)
    return "\n".join(lines) + "\n"


def absolute(item: Article, text: str, base: str | None) -> str:
    """Return Markdown of an article with links to sections and other articles made absolute below ``base``.

    Where they are served nowhere, ``base`` is None, and the command that shows the target stands behind the link's
    words. Pictures become their descriptions: neither a terminal nor a pipe shows them.
    """

    def target(match: re.Match[str]) -> tuple[str, str]:
        return match["page"].removesuffix(".html") if match["page"] else item.id, match["anchor"] or ""

    def address(match: re.Match[str]) -> str:
        identifier, anchor = target(match)
        return f"]({article_url(base or '', identifier, anchor.removeprefix('#'))})"

    def command(match: re.Match[str]) -> str:
        identifier, anchor = target(match)
        return f"{match['words']} (`allocfail kb show {identifier}{anchor}`)"

    text = _LINK.sub(address, plain(text)) if base else _LINKED.sub(command, plain(text))
    return _PICTURE.sub(r"*\1*", text)
