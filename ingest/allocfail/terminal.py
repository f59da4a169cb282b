"""Text from logs, fit for a terminal."""

from __future__ import annotations

import codecs
import io
import re
import sys

__all__ = ["one_line", "printable", "say_if_waiting", "take_any_encoding"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return ``text`` with each control and bidirectional character replaced by U+FFFD; newlines and tabs stay.

    What comes from files or arguments must not be able to move a terminal's cursor or rewrite its title.
    """
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return ``text`` as one printable line; a file's name may hold line ends, too."""
    return printable(text).replace("\n", "\ufffd").replace("\t", " ")


def say_if_waiting(waiting: bool) -> None:  # noqa: FBT001 - the question is the argument
    """Say on stderr that the terminal is read, where it is: a command that waits looks like one that hangs."""
    if waiting:
        sys.stderr.write("allocfail: reading from the terminal; end with Ctrl-D\n")
        sys.stderr.flush()


#: What stands for a character that an encoding does not have. None of it would end a string of JSON.
_PLAINER = {
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "'",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "'",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MIDDLE DOT}": ".",
    "\N{BULLET}": "*",
    "\N{NO-BREAK SPACE}": " ",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
}
_HANDLER = "allocfail.plainer"


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAINER.get(char) or _escaped(char) for char in text), error.end


def _escaped(char: str) -> str:
    """Return a character as JSON escapes it."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def take_any_encoding() -> None:
    """Let standard output and error take every text, whatever the locale's encoding has, without a traceback."""
    codecs.register_error(_HANDLER, _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors=_HANDLER)
