"""Markdown to HTML that is safe to put into a page, whatever an article holds.

Raw HTML is shown as text. Pictures are the project's own (``kb/figures``), put into the page as SVG; any other becomes
its description.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from allocfail.articles.shell import PARAGRAPH, TITLE, breakable
from allocfail.content import content_path
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from markdown_it.rules_core import StateCore

__all__ = ["FIGURES", "figure", "plain_lines", "render"]

#: Folder of the pictures, relative to the content root.
FIGURES = "kb/figures"

_ANCHOR = re.compile(r"(.*?) *\{#([a-z0-9-]+)\} *", re.ASCII)
_FIGURE = re.compile(r"\.\./figures/([a-z0-9-]+)\.svg", re.ASCII)
_ID = re.compile(r"[a-z0-9-]+", re.ASCII)
#: A page or section of ours, or a page elsewhere.
_ADDRESS = re.compile(r"(?:[a-z0-9-]+\.html)?(?:#[a-z0-9-]+)?|https?://[^\s\x00-\x1f]+", re.ASCII)
#: A citation: release in brackets, then files, all in parentheses.
_CITATION = re.compile(r"\(\[[0-9][0-9A-Za-z.-]*\][^()]{0,400}\)", re.ASCII)
#: Stands for a picture while the HTML around it is cleaned; Markdown has no such character, it is taken out first.
_MARK = "\ue000"
_PLACE = re.compile(f"{_MARK}([0-9]+){_MARK}")
#: What a picture's file brings along for those who open it alone; a page has its own style.
_ALONE = re.compile(r"\n*(?:<style>.*?</style>|<title>.*?</title>)", re.DOTALL)

_TAGS = frozenset(
    "a blockquote br code em h2 h3 h4 hr li ol p pre span strong table tbody td th thead tr ul wbr".split(),  # noqa: SIM905 - a list of 24 strings reads worse
)
_ATTRIBUTES = {"a": {"href"}, "h2": {"id"}, "h3": {"id"}, "h4": {"id"}, "ol": {"start"}, "td": {"data-label"}}


def render(body: str) -> str:
    """Return an article's Markdown as HTML that is safe to put into a page.

    Raw HTML is shown as text; of what Markdown makes, only a few tags, ``href`` of http, https and relative links, and
    ids of headings survive.
    """
    pictures: list[tuple[str, str]] = []
    tokens = _parser().parse(body.replace(_MARK, ""))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline":
            narrow = before is not None and before.type in {"heading_open", "th_open", "td_open"}
            token.children = list(_children(token.children or [], pictures, TITLE if narrow else PARAGRAPH))
    parser = _parser()
    safe = nh3.clean(
        parser.renderer.render(tokens, parser.options, {}),
        tags=set(_TAGS),
        attributes=_ATTRIBUTES,
        allowed_classes={"span": {"src"}},
        attribute_filter=_kept,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )
    safe = safe.replace("<table>", '<div class="table" role="region" aria-label="Table" tabindex="0"><table>')
    safe = safe.replace("</table>", "</table></div>").replace(f"<p>{_MARK}", _MARK).replace(f"{_MARK}</p>", _MARK)
    return _PLACE.sub(lambda match: figure(*pictures[int(match[1])]), safe)


def plain_lines(body: str) -> Iterator[str]:
    """Yield what an article says, without its marks: a line for each paragraph, item, table row and line of code."""
    cells: list[str] | None = None
    for token in _parser().parse(body):
        if token.type == "tr_open":
            cells = []
        elif token.type == "tr_close" and cells is not None:
            yield " ".join(cells)
            cells = None
        elif token.type == "inline":
            text = "".join(" " if part.type == "softbreak" else part.content for part in token.children or [])
            if cells is None:
                yield text
            else:
                cells.append(text)
        elif token.type in {"fence", "code_block"}:
            yield from token.content.splitlines()


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.core.ruler.before("inline", "anchors", _take_anchors)
    parser.core.ruler.push("labels", _label_cells)
    return parser


def _take_anchors(state: StateCore) -> None:
    """Make ``## Title {#anchor}`` a heading with that id."""
    for before, token in zip(state.tokens, state.tokens[1:], strict=False):
        match = _ANCHOR.fullmatch(token.content) if before.type == "heading_open" else None
        if match is not None:
            token.content = match[1]
            before.attrSet("id", match[2])


def _label_cells(state: StateCore) -> None:
    """Give each cell of a table its column's title: on a narrow screen a row becomes a list."""
    titles: list[str] = []
    column = 0
    for before, token in zip(state.tokens, state.tokens[1:], strict=False):
        if before.type == "table_open":
            titles = []
        elif before.type == "tr_open":
            column = 0
        elif before.type == "th_open":
            titles.append("".join(part.content for part in token.children or [] if not part.nesting))
        elif before.type == "td_open":
            before.attrSet("data-label", titles[column] if column < len(titles) else "")
            column += 1


def _children(tokens: list[Token], pictures: list[tuple[str, str]], fits: int) -> Iterator[Token]:
    """Yield a paragraph's tokens with citations marked up and pictures replaced by their place.

    Lines may end in words that are longer than ``fits``.
    """
    for token in _joined(tokens):
        if token.type == "image":
            match = _FIGURE.fullmatch(str(token.attrs.get("src", "")))
            text = Token("text", "", 0, content=token.content)
            if match is not None:
                text.content = f"{_MARK}{len(pictures)}{_MARK}"
                pictures.append((match[1], token.content))
            yield text
        elif token.type == "text":
            yield from _cited(token.content, fits)
        elif token.type == "code_inline":
            yield _inline(f"<code>{_breakable(token.content, fits)}</code>")
        else:
            yield token


def _joined(tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens with line ends as spaces and neighbouring texts as one, so that a citation may be broken."""
    text = ""
    for token in tokens:
        if token.type in {"text", "softbreak"}:
            text += token.content if token.type == "text" else "\n"
            continue
        if text:
            yield Token("text", "", 0, content=text)
            text = ""
        yield token
    if text:
        yield Token("text", "", 0, content=text)


def _cited(text: str, fits: int) -> Iterator[Token]:
    at = 0
    for match in _CITATION.finditer(text):
        yield _inline(_breakable(text[at : match.start()], fits))
        yield _inline(f'<span class="src">{_breakable(match[0], fits)}</span>')
        at = match.end()
    yield _inline(_breakable(text[at:], fits))


def _inline(content: str) -> Token:
    return Token("html_inline", "", 0, content=content)


def _breakable(text: str, fits: int) -> str:
    return breakable(html.escape(text), fits)


def _kept(_: str, attribute: str, value: str) -> str | None:
    """Drop addresses and anchors that articles have no use for."""
    if attribute == "href":
        return value if _ADDRESS.fullmatch(value) else None
    if attribute == "id":
        return value if _ID.fullmatch(value) else None
    return value


def figure(name: str, description: str) -> str:
    """Return a picture of ``kb/figures`` as HTML; ``description`` is read out in its place.

    Raises :class:`AllocfailError` where there is no such picture.
    """
    label = html.escape(" ".join(description.split()), quote=True)
    return f'<figure class="fig">{_drawing(name).replace("<svg ", f"""<svg aria-label="{label}" """, 1)}</figure>'


@cache
def _drawing(name: str) -> str:
    path: Path = content_path(f"{FIGURES}/{name}.svg")
    if not path.is_file():
        raise AllocfailError(f"no picture {name}: {FIGURES} has none")
    return _ALONE.sub("", path.read_text(encoding="utf-8")).strip()
