"""How a report looks: labels in a column, sentences wrapped beside them, colour on a terminal."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocfail.report.event import Line

__all__ = ["COLOURS", "laid_out"]

#: Columns of the labels.
_LABEL = 15
#: Below this, texts stand under their labels; a report is not laid out for less than the second.
_NARROW, _NARROWEST = 60, 40
#: Lines longer than this tire the eye, however wide the terminal.
_WIDEST = 110
#: Styles of lines, as rich knows them.
COLOURS = {
    "title": "bold",
    "failed": "bold red",
    "degraded": "yellow",
    "recovered": "green",
    "unknown": "dim",
    "command": "bold cyan",
    "link": "cyan",
}


def laid_out(lines: Iterable[Line], *, width: int | None = None, colour: bool = False) -> str:
    """Return a report's lines as text.

    ``width``: columns of the terminal that it is for; None: no terminal, and no sentence is broken. ``colour``: with
    the escapes of a terminal, as far as it takes them (``NO_COLOR`` and ``TERM`` are heeded).
    """
    rows = [row for line in lines for row in _rows(line, width)]
    if not colour:
        return "".join(f"{label}{text}".rstrip() + "\n" for label, text, _ in rows)
    from rich.console import Console  # noqa: PLC0415 - only where it colours
    from rich.text import Text  # noqa: PLC0415

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, markup=False, highlight=False, emoji=False)
    for label, text, style in rows:
        console.print(Text.assemble((label, "dim"), (text, COLOURS.get(style, ""))), soft_wrap=True)
    return out.getvalue()


def _rows(line: Line, width: int | None) -> list[tuple[str, str, str]]:
    """Return a line as the rows it takes: label column, text, style."""
    if line.style == "title":
        return [("", part, "title") for part in _wrapped(line.text, width)]
    if not line.label and not line.text:
        return [("", "", "")]
    label = f"  {line.label:<{_LABEL}}"
    if width is not None and width < _NARROW:
        return _stacked(line, label, max(width, _NARROWEST))
    # What is to be copied stays in one piece.
    whole = width is None or line.style in ("command", "link")
    parts = [line.text] if whole else _wrapped(line.text, min(width or 0, _WIDEST) - len(label))
    return [(label if number == 0 else " " * len(label), part, line.style) for number, part in enumerate(parts)]


def _stacked(line: Line, label: str, width: int) -> list[tuple[str, str, str]]:
    """Return a line for a narrow terminal: the text below its label, unless both fit."""
    if line.label and len(label) + len(line.text) <= width:
        return [(label, line.text, line.style)]
    head = [(f"  {line.label}", "", "")] if line.label else []
    parts = [line.text] if line.style in ("command", "link") else _wrapped(line.text, width - 4)
    return [*head, *(("    ", part, line.style) for part in parts)]


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)
