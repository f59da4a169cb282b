"""Regular expressions as programs that a small matcher runs, since the pipelines must not need Painless's own.

A program is text, an instruction a letter with its operands behind it, each operand one character: its code less
:data:`BASE` is the number. The matcher is ``pipelines/painless/regex.painless``. It backtracks as Python's does, so
both find the same. Where what follows cannot begin with what would be given back, nothing is kept to go back to.

===== ============ =====================================================================================
code  operands     does
===== ============ =====================================================================================
``-`` char         matches this character
``=`` text         matches this text
``[`` set          matches one character of the set
``{`` set min max  matches from min (to max, 0: any number) characters of the set, as many as there are
``*`` set min max  the same, and tries fewer if what follows fails
``+`` set min max  matches as few as serve
``|`` a b set      goes on at a; at b if that fails
``:`` a b set      goes on at a where a character of the set is next, else at b
``>`` a            goes on at a
``(`` n            keeps the position as mark n
``^``              at the beginning
``$``              at the end, or before a newline there
``.``              at the very end
``b``              between a word character and another
``?`` a            at a position where what follows matches, up to ``;``; goes on at a
``!`` a            at a position where what follows does not match; goes on at a
``<`` n a          as ``?`` or ``!`` n characters back: stands in front of them
``;``              matched
===== ============ =====================================================================================
"""

from __future__ import annotations

import re
import sys
from re import _constants as sre  # type: ignore[attr-defined] # private: the tests of each Python hold it
from re import _parser as parser  # type: ignore[attr-defined] # as above
from typing import Any

__all__ = ["BASE", "UnsupportedPatternError", "compile_pattern"]

#: What is added to a number to make an operand's character: above the controls and quotes that JSON would escape.
BASE = 0x30
#: An operand has to stay below the surrogates.
_MOST = 0xD7FF - BASE
_MAXREPEAT = sre.MAXREPEAT
_ASCII = 128
#: Stands for the end of the text among characters.
_END = 129
_REPEATS = frozenset("*+{")
#: What only looks around.
_NARROWING = frozenset("^b?!<")
#: How many places an instruction takes.
_LENGTHS = {
    "-": 2, "=": 2, "[": 2, "{": 4, "*": 4, "+": 4, "|": 4, ":": 4, ">": 2, "(": 2, "^": 1, "$": 1, ".": 1, "b": 1,
    "?": 2, "!": 2, "<": 2, ";": 1,
}  # fmt: skip


class UnsupportedPatternError(Exception):
    """A pattern that no program can be made of; the text says why, and what to write instead."""


def compile_pattern(pattern: re.Pattern[str], mode: str) -> list[Any]:
    """Return the program of a pattern as JSON: ``mode`` is ``match``, ``search`` or ``fullmatch``.

    A list, in this order: the code; the number of marks; whether a match may begin anywhere; what every match begins
    with, else null; else the characters that one can begin with, null where it can be empty; the sets; the groups by
    name; the texts; the pattern, for a reader. Raises :class:`UnsupportedPatternError`.
    """
    if pattern.flags & re.IGNORECASE:
        raise UnsupportedPatternError("IGNORECASE: write both cases as a class")
    return _Compiler(pattern, mode).program()


def _operand(number: int) -> str:
    if number > _MOST:
        raise UnsupportedPatternError("the pattern is too long: cut it in two")
    return chr(BASE + number)


class _Compiler:
    """Makes the program of one pattern."""

    def __init__(self, pattern: re.Pattern[str], mode: str) -> None:
        self._pattern = pattern
        self._mode = mode
        self._ascii = bool(pattern.flags & re.ASCII)
        self._dotall = bool(pattern.flags & re.DOTALL)
        self._sets: list[str] = []
        self._texts: list[str] = []
        if pattern.flags & re.MULTILINE:
            raise UnsupportedPatternError("MULTILINE: match line by line")

    def program(self) -> list[Any]:
        tree = parser.parse(self._pattern.pattern, self._pattern.flags & ~re.UNICODE)
        code: list[str] = []
        self._sequence(tree, code)
        if self._mode == "fullmatch":
            code.append(".")
        code.append(";")
        self._settle(code)
        literal = _leading_literal(tree)
        first, empty = self._first(tree)
        return [
            "".join(code),
            2 * (self._pattern.groups + 1),
            self._mode == "search",
            literal or None,
            None if literal or empty else _bitmap(first),
            self._sets,
            dict(self._pattern.groupindex),
            self._texts,
            self._pattern.pattern,
        ]

    # -- sets ----------------------------------------------------------------------------------------------------------

    def _set(self, members: list[tuple[Any, Any]]) -> int:
        """Return the number of a set: 128 characters ``0`` or ``1``, then ``1`` or ``0`` for all others, then ranges.

        The ranges, each end four hex digits, are those above ASCII for which the opposite holds; ``*`` behind them says
        that it holds for all beyond U+FFFF as well.
        """
        negated = bool(members) and members[0][0] is sre.NEGATE
        inside, ranges = self._members(members[1:] if negated else members)
        bits = "".join("1" if (number in inside) != negated else "0" for number in range(_ASCII))
        text = bits + ("1" if negated else "0")
        for low, high in ranges:
            text += f"{low:04x}{min(high, 0xFFFF):04x}" if low <= 0xFFFF else ""
        if any(high > 0xFFFF for _, high in ranges):
            text += "*"
        return _kept(self._sets, text)

    def _members(self, members: list[tuple[Any, Any]]) -> tuple[set[int], list[tuple[int, int]]]:
        inside: set[int] = set()
        ranges: list[tuple[int, int]] = []
        for kind, value in members:
            if kind is sre.LITERAL:
                low = high = value
            elif kind is sre.RANGE:
                low, high = value
            elif kind is sre.CATEGORY:
                inside |= self._category(value)
                continue
            else:
                raise UnsupportedPatternError(f"{kind} in a class: write the characters out")
            if high > 0xFFFF and not (low <= 0x10000 and high == sys.maxunicode):
                # One character in Python, two in Java.
                raise UnsupportedPatternError("a character beyond U+FFFF: only all of those can be in a class")
            inside |= set(range(low, min(high + 1, _ASCII)))
            if high >= _ASCII:
                ranges.append((max(low, _ASCII), high))
        return inside, ranges

    def _category(self, name: Any) -> set[int]:
        if not self._ascii:
            raise UnsupportedPatternError(r"\d, \w and \s mean other characters in Java: write the characters out")
        test = {
            sre.CATEGORY_DIGIT: r"\d",
            sre.CATEGORY_NOT_DIGIT: r"\D",
            sre.CATEGORY_SPACE: r"\s",
            sre.CATEGORY_NOT_SPACE: r"\S",
            sre.CATEGORY_WORD: r"\w",
            sre.CATEGORY_NOT_WORD: r"\W",
        }.get(name)
        if test is None or test.isupper():
            raise UnsupportedPatternError("a negated class: write [^…]")
        return {number for number in range(_ASCII) if re.match(test, chr(number), re.ASCII)}

    def _single(self, kind: Any, value: Any) -> list[tuple[Any, Any]] | None:
        """Return the set of a node that matches one character; None of any other."""
        if kind is sre.LITERAL:
            return [(sre.LITERAL, value)]
        if kind is sre.NOT_LITERAL:
            return [(sre.NEGATE, None), (sre.LITERAL, value)]
        if kind is sre.ANY:
            return [(sre.NEGATE, None)] if self._dotall else [(sre.NEGATE, None), (sre.LITERAL, 10)]
        if kind is sre.IN:
            return list(value)
        return None

    # -- instructions --------------------------------------------------------------------------------------------------

    def _sequence(self, tree: Any, code: list[str]) -> None:
        run = ""
        for kind, value in tree:
            if kind is sre.LITERAL and value <= 0xFFFF:
                run += chr(value)
                continue
            self._flush(run, code)
            run = ""
            self._node(kind, value, code)
        self._flush(run, code)

    def _flush(self, run: str, code: list[str]) -> None:
        """Put a run of characters into the program."""
        if len(run) == 1:
            code.extend(("-", run))
        elif run:
            code.extend(("=", _operand(_kept(self._texts, run))))

    def _node(self, kind: Any, value: Any, code: list[str]) -> None:
        single = self._single(kind, value)
        if single is not None:
            code.extend(("[", _operand(self._set(single))))
        elif kind is sre.AT:
            self._at(value, code)
        elif kind is sre.SUBPATTERN:
            group, add, remove, inner = value
            if add or remove:
                raise UnsupportedPatternError("flags within a pattern")
            if group is not None:
                code.extend(("(", _operand(2 * group)))
            self._sequence(inner, code)
            if group is not None:
                code.extend(("(", _operand(2 * group + 1)))
        elif kind is sre.BRANCH:
            self._branch(value[1], code)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            self._repeat(*value, greedy=kind is sre.MAX_REPEAT, code=code)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            self._look(value, code, wanted=kind is sre.ASSERT)
        else:
            raise UnsupportedPatternError(f"{kind}: no such thing in the matcher")

    def _at(self, value: Any, code: list[str]) -> None:
        letters = {
            sre.AT_BEGINNING: "^",
            sre.AT_BEGINNING_STRING: "^",
            sre.AT_END: "$",
            sre.AT_END_STRING: ".",
            sre.AT_BOUNDARY: "b",
        }
        if value not in letters:
            raise UnsupportedPatternError(f"{value}: no such thing in the matcher")
        code.append(letters[value])

    def _branch(self, branches: list[Any], code: list[str]) -> None:
        ends: list[int] = []
        for number, branch in enumerate(branches):
            if number < len(branches) - 1:
                start = len(code)
                code.extend(("|", "", "", ""))
                self._sequence(branch, code)
                ends.append(len(code) + 1)
                code.extend((">", ""))
                code[start + 1] = _operand(start + 4)
                code[start + 2] = _operand(len(code))
            else:
                self._sequence(branch, code)
        for end in ends:
            code[end] = _operand(len(code))

    def _repeat(self, low: int, high: Any, inner: Any, *, greedy: bool, code: list[str]) -> None:
        most = 0 if high is _MAXREPEAT else int(high)
        if len(inner) == 1 and (single := self._single(*inner[0])) is not None:
            code.extend(("*" if greedy else "+", _operand(self._set(single)), _operand(low), _operand(most)))
            return
        for _ in range(low):
            self._sequence(inner, code)
        if high is _MAXREPEAT:
            if inner.getwidth()[0] == 0:
                raise UnsupportedPatternError("a repeated group that may be empty")
            start = len(code)
            code.extend(("|", "", "", ""))
            self._sequence(inner, code)
            code.extend((">", _operand(start)))
            self._fork(start, code, greedy=greedy)
            return
        starts: list[int] = []
        for _ in range(most - low):
            starts.append(len(code))
            code.extend(("|", "", "", ""))
            self._sequence(inner, code)
        for start in starts:
            self._fork(start, code, greedy=greedy)

    def _fork(self, start: int, code: list[str], *, greedy: bool) -> None:
        """Let the fork at ``start`` lead into what stands behind it, and behind the end."""
        into, past = _operand(start + 4), _operand(len(code))
        code[start + 1], code[start + 2] = (into, past) if greedy else (past, into)

    def _look(self, value: Any, code: list[str], *, wanted: bool) -> None:
        direction, inner = value
        if direction < 0:
            low, high = inner.getwidth()
            if low != high:
                raise UnsupportedPatternError("a look-behind of several widths")
            code.extend(("<", _operand(low)))
        start = len(code)
        code.extend(("?" if wanted else "!", ""))
        self._sequence(inner, code)
        code.append(";")
        code[start + 1] = _operand(len(code))

    # -- what need not be tried again ----------------------------------------------------------------------------------

    def _settle(self, code: list[str]) -> None:
        """Mark the repeats that give nothing back, and the forks that the next character decides."""
        at = 0
        while at < len(code):
            letter = code[at]
            if letter == "*":
                behind = self._next(code, at + 4, set())
                if behind is not None and not behind & self._of_set(code[at + 1]):
                    code[at] = "{"
            elif letter == "|":
                self._decide(code, at)
            at += _LENGTHS[letter]

    def _decide(self, code: list[str], at: int) -> None:
        first = self._next(code, _number(code[at + 1]), set(), whole=True)
        other = self._next(code, _number(code[at + 2]), set(), whole=True)
        code[at + 3] = _operand(0)
        if first is None or other is None or _END in first or first & other:
            return
        code[at] = ":"
        code[at + 3] = _operand(_kept(self._sets, _bitmap(first)))

    def _of_set(self, operand: str) -> set[int]:
        return _characters(self._sets[_number(operand)])

    def _next(
        self, code: list[str], at: int, seen: set[int], *, whole: bool = False, narrowed: bool = False
    ) -> set[int] | None:
        """Return the ASCII characters (128: all others, 129: the end) one of which is next if all from ``at`` matches.

        None where that can be anything. ``whole`` says that a match that ends there is not the end of it: something
        else could have been tried. ``narrowed`` says that a look around stands in front.
        """
        if at in seen:
            return set()
        seen.add(at)
        letter = code[at]
        if letter == ";":
            return None if whole or narrowed else set()
        found = self._taken(code, at)
        if found and not (letter in _REPEATS and _number(code[at + 2]) == 0):
            return found
        for place in _onward(code, at):
            behind = self._next(code, place, seen, whole=whole, narrowed=narrowed or letter in _NARROWING)
            if behind is None:
                return None
            found |= behind
        return found

    def _taken(self, code: list[str], at: int) -> set[int]:
        """Return the characters one of which an instruction takes, or wants to be next; none where it takes none."""
        letter = code[at]
        if letter == "-":
            return {min(ord(code[at + 1]), _ASCII)}
        if letter == "=":
            return {min(ord(self._texts[_number(code[at + 1])][0]), _ASCII)}
        if letter == "[" or letter in _REPEATS:
            return self._of_set(code[at + 1])
        return {".": {_END}, "$": {_END, 10}}.get(letter, set())

    # -- what it begins with -------------------------------------------------------------------------------------------

    def _first(self, tree: Any) -> tuple[set[int], bool]:
        """Return the ASCII characters (128: all others) that a match can begin with, and whether it can be empty."""
        found: set[int] = set()
        for kind, value in tree:
            inner, empty = self._begins(kind, value)
            found |= inner
            if not empty:
                return found, False
        return found, True

    def _begins(self, kind: Any, value: Any) -> tuple[set[int], bool]:
        single = self._single(kind, value)
        if single is not None:
            return self._bits(single), False
        if kind is sre.SUBPATTERN:
            return self._first(value[3])
        if kind is sre.BRANCH:
            branches = [self._first(branch) for branch in value[1]]
            return set().union(*(inner for inner, _ in branches)), any(empty for _, empty in branches)
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, _, body = value
            inner, empty = self._first(body)
            return inner, empty or low == 0
        return set(), True  # an anchor, or a look around

    def _bits(self, members: list[tuple[Any, Any]]) -> set[int]:
        return _characters(self._sets[self._set(members)])


def _characters(text: str) -> set[int]:
    """Return the ASCII characters of a set; 128 where others are in it."""
    found = {number for number in range(_ASCII) if text[number] == "1"}
    return found | {_ASCII} if text[_ASCII] == "1" or len(text) > _ASCII + 1 else found


def _onward(code: list[str], at: int) -> list[int]:
    """Return where the program goes on behind an instruction, what looks around left out."""
    letter = code[at]
    if letter in "|:":
        return [_number(code[at + 1]), _number(code[at + 2])]
    if letter in ">?!":
        return [_number(code[at + 1])]
    return [at + _LENGTHS[letter]]


def _kept(texts: list[str], text: str) -> int:
    """Return the number of a text among those that are kept, this one with them."""
    if text not in texts:
        texts.append(text)
    return texts.index(text)


def _number(operand: str) -> int:
    return ord(operand) - BASE


def _leading_literal(tree: Any) -> str:
    """Return the characters that every match begins with."""
    run = ""
    for kind, value in tree:
        if kind is not sre.LITERAL or value > 0xFFFF:
            break
        run += chr(value)
    return run


def _bitmap(first: set[int]) -> str:
    return "".join("1" if number in first else "0" for number in range(_ASCII + 1))
