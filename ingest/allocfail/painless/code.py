"""Pieces of Painless, and the function that is being made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.painless.sources import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy.nodes import Node

    from allocfail.painless.sources import Function, Sources

__all__ = ["Code", "Scope", "Unit", "boxed", "call", "cast", "literal", "wrap"]

#: How strongly the parts of an expression hang together; Painless's grammar is Java's.
PRIMARY, UNARY, TIMES, PLUS, SHIFT, LESS, SAME, BITS, AND, OR, CHOICE = range(11, 0, -1)

#: Where a function's call and head have the facts, if it turns out to need them; see :func:`link`.
KNOWN = "\x01{name}\x02"

#: Painless's own words that a Python name may not be.
RESERVED = frozenset(
    [
        "boolean",
        "byte",
        "short",
        "char",
        "int",
        "long",
        "float",
        "double",
        "void",
        "def",
        "new",
        "this",
        "in",
        "if",
        "else",
        "while",
        "do",
        "for",
        "continue",
        "break",
        "return",
        "try",
        "catch",
        "throw",
        "instanceof",
        "null",
        "true",
        "false",
        "Map",
        "List",
        "String",
        "Set",
        "Object",
        "params",
        "ctx",
        "known",
    ]
)

#: By kind of node: what it is in Python, and what to write instead.
_INSTEAD = {
    "AssertStmt": "assert: test it, and return",
    "FloatExpr": "a number with a point: count in whole units",
    "FuncDef": "a function within a function: write it beside, and hand in what it reads",
    "LambdaExpr": "lambda: write a function beside",
    "MatchStmt": "match: write if and elif",
    "RaiseStmt": "raise: return None or a value that says so",
    "TryStmt": "try: test what could fail before, by a pattern or isinstance",
    "WithStmt": "with: what is opened has no place in the decoder",
    "YieldExpr": "yield: return a list",
    "YieldFromExpr": "yield: return a list",
}


class Code(NamedTuple):
    """An expression: its text, how strongly it binds, and the type that Painless sees."""

    text: str
    strength: int
    kind: str


@dataclass
class Unit:
    """One Painless function, and what it asks for."""

    name: str
    """The full name of what it was made of."""
    lines: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    constants: dict[str, Any] = field(default_factory=dict)
    kit: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """Its source, marks of :data:`KNOWN` in it."""
        return "\n".join(self.lines)


class Scope:
    """The function being made."""

    def __init__(self, sources: Sources, names: dict[str, str], function: Function, unit: Unit) -> None:
        """``names`` are the Painless names by full name."""
        self.sources = sources
        self.names = names
        self.function = function
        self.unit = unit
        self.depth = 1
        self.locals: dict[str, str] = {}
        """The Painless types of its variables."""
        self.declared: set[str] = set()
        self.waiting: list[str] = []
        """Declarations that the statement being made needs in front of it."""
        self.helpers: list[Unit] = []
        self._temporaries = 0

    def emit(self, line: str) -> None:
        """Add a line."""
        self.unit.lines.append(" " * self.depth + line)

    def temporary(self, kind: str) -> str:
        """Declare a variable of the compiler's own in front of the statement being made."""
        name = self.fresh()
        self.waiting.append(f"{kind} {name};")
        return name

    def fresh(self) -> str:
        """Return a name that nobody uses."""
        self._temporaries += 1
        name = f"t{self._temporaries}"
        while name in self.locals:
            self._temporaries += 1
            name = f"t{self._temporaries}"
        return name

    def local(self, name: str) -> str:
        """Return how a variable is called."""
        return name + "_" if name in RESERVED else name

    def constant(self, key: str, value: Any) -> str:
        """Ask for a value of ``params``; return how to read it."""
        self.unit.constants[key] = value
        return f"known['{key}']"

    def use_kit(self, name: str) -> str:
        """Ask for a function of the kit; return its name."""
        self.unit.kit.add(name)
        return name

    def error(self, node: Node, what: str) -> CompileError:
        """Return what to raise for Python that has no translation."""
        module = self.function.module
        return CompileError(f"{module.replace('.', '/')}.py:{node.line}: {what}")

    def untranslated(self, node: Node) -> CompileError:
        """Return what to raise for a kind of node that has no translation, with what to write instead."""
        kind = type(node).__name__
        return self.error(node, _INSTEAD.get(kind, f"{kind} has no translation"))


def wrap(code: Code, strength: int) -> str:
    """Return the text, in parentheses where it binds more weakly."""
    return code.text if code.strength >= strength else f"({code.text})"


def cast(code: Code, kind: str) -> Code:
    """Return the expression as ``kind``."""
    if kind in {code.kind, "void"} or (code.kind == "null" and kind not in {"long", "boolean"}):
        return code
    if kind == "def":
        return boxed(code)
    if kind == "long" and code.kind == "int":
        return Code(code.text, code.strength, "long")
    if kind == "int" and code.text.endswith("L") and code.text[:-1].isdigit():
        return Code(code.text[:-1], PRIMARY, "int")
    if code.kind in {"def", "long", "int", "char"} or kind in {"int", "long"}:
        return Code(f"({kind}) {wrap(code, UNARY)}", UNARY, kind)
    return Code(code.text, code.strength, kind)


def boxed(code: Code) -> Code:
    """Return the expression as it is put into a collection: whole numbers are always of 64 bits."""
    if code.kind == "int":
        return Code(f"(long) {wrap(code, UNARY)}", UNARY, "long")
    return code


def call(name: str, arguments: Iterable[str], kind: str) -> Code:
    """Return a call."""
    return Code(f"{name}({', '.join(arguments)})", PRIMARY, kind)


def literal(text: str) -> str:
    """Return a text as Painless writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
