"""The decoder as mypy sees it: every function and class with the exact type of every expression in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mypy import build
from mypy.modulefinder import BuildSource
from mypy.nodes import (
    AssignmentStmt,
    ClassDef,
    Decorator,
    ExpressionStmt,
    FuncDef,
    MypyFile,
    NameExpr,
    RefExpr,
    StrExpr,
    TypeInfo,
    Var,
)
from mypy.options import Options as MypyOptions
from mypy.types import Instance, TupleType

from allocfail.painless.types import without_none

if TYPE_CHECKING:
    from pathlib import Path

    from mypy.nodes import Expression, Statement
    from mypy.types import Type

__all__ = ["CompileError", "Field", "Function", "Record", "Sources", "load"]


class CompileError(Exception):
    """Python that has no translation: file, line, what it is, and what to write instead."""


@dataclass(frozen=True)
class Field:
    """A field of a record."""

    name: str
    default: Expression | None
    factory: str | None
    """Full name of what makes the default: ``builtins.list``, or a class of the decoder."""


@dataclass
class Record:
    """A class of the decoder: a dataclass, a named tuple, or one with an ``__init__`` of its own."""

    info: TypeInfo
    module: str
    fields: dict[str, Field]
    by_identity: bool
    """Two of them are equal only if they are one."""
    methods: dict[str, Function] = field(default_factory=dict)

    @property
    def layout(self) -> list[str]:
        """Names of the fields, in the order in which a list holds them."""
        if self.is_plain:
            return list(self.fields)
        return [
            name for name, symbol in self.info.names.items() if isinstance(symbol.node, Var) and name != "__slots__"
        ]

    def place(self, name: str) -> str:
        """Return where a list holds a field, with the field's name for a reader."""
        return f"{self.layout.index(name)} /*{name}*/"

    @property
    def is_plain(self) -> bool:
        """Whether it is made of its fields alone."""
        return "__init__" not in self.methods


@dataclass
class Function:
    """A function or a method."""

    node: FuncDef
    module: str
    owner: Record | None
    decorators: tuple[str, ...]

    @property
    def fullname(self) -> str:
        """``allocfail.decoder.trace.TraceBuilder.add``."""
        return str(self.node.fullname)

    @property
    def is_static(self) -> bool:
        """Whether it takes no ``self``."""
        return "builtins.staticmethod" in self.decorators

    @property
    def is_property(self) -> bool:
        """Whether it is read like a field."""
        return "builtins.property" in self.decorators

    @property
    def is_constant(self) -> bool:
        """Whether it is evaluated when it is compiled: cached, and without parameters."""
        return not self.node.arguments and any(d.startswith("functools.") for d in self.decorators)


class Sources:
    """All modules of the decoder."""

    def __init__(self, files: dict[str, MypyFile], types: dict[Expression, Type]) -> None:
        """Collect what the files define."""
        self.files = files
        self.types = types
        self.functions: dict[str, Function] = {}
        self.records: dict[str, Record] = {}
        for name, file in files.items():
            for statement in file.defs:
                self._collect(statement, name)

    def record_of(self, kind: Type | None) -> Record | None:
        """Return the class of the decoder that a type is, or may be; None for any other type."""
        found = without_none(kind)
        if isinstance(found, TupleType):
            found = found.partial_fallback
        return self.records.get(found.type.fullname) if isinstance(found, Instance) else None

    def _collect(self, statement: Statement, module: str) -> None:
        if isinstance(statement, ClassDef):
            self._class(statement, module)
        function = _function(statement, module, None)
        if function is not None:
            self.functions[function.fullname] = function

    def _class(self, node: ClassDef, module: str) -> None:
        record = Record(node.info, module, {}, by_identity=not _compares(node))
        for statement in node.defs.body:
            function = _function(statement, module, record)
            if function is not None:
                symbol = node.info.names.get(function.node.name)
                if symbol is None or symbol.plugin_generated:
                    continue
                record.methods[function.node.name] = function
                self.functions[function.fullname] = function
            elif (
                isinstance(statement, AssignmentStmt) and isinstance(statement.lvalues[0], NameExpr) and statement.type
            ):
                self._field(statement, record)
        self.records[node.info.fullname] = record

    @staticmethod
    def _field(statement: AssignmentStmt, record: Record) -> None:
        name = statement.lvalues[0]
        if not isinstance(name, NameExpr):
            return
        default: Any = statement.rvalue
        factory = None
        if type(default).__name__ == "TempNode":
            default = None
        elif type(default).__name__ == "CallExpr" and getattr(default.callee, "fullname", "") == "dataclasses.field":
            for argument, value in zip(default.arg_names, default.args, strict=True):
                if argument == "default_factory" and isinstance(value, RefExpr):
                    factory = value.fullname
            default = None
        record.fields[name.name] = Field(name.name, default, factory)


def _function(statement: Statement, module: str, owner: Record | None) -> Function | None:
    if isinstance(statement, Decorator):
        names = tuple(_decorator(d) for d in statement.original_decorators)
        return Function(statement.func, module, owner, names)
    if isinstance(statement, FuncDef):
        return Function(statement, module, owner, ())
    return None


def _compares(node: ClassDef) -> bool:
    """Whether two instances are equal when their fields are."""
    if "namedtuple" in node.info.metadata:
        return True
    for decorator in node.decorators:
        names = getattr(decorator, "arg_names", [])
        if "eq" in names:
            return getattr(decorator.args[names.index("eq")], "name", "") == "True"  # type: ignore[attr-defined]
    return "dataclass" in node.info.metadata


def _decorator(node: Any) -> str:
    return str(getattr(node, "fullname", None) or getattr(getattr(node, "callee", None), "fullname", "") or "")


def is_docstring(statement: Any) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(statement, ExpressionStmt) and isinstance(statement.expr, StrExpr)


def is_local(node: NameExpr) -> bool:
    """Whether a name is a variable of its function."""
    return isinstance(node.node, Var) and "." not in (node.node.fullname or "")


def load(root: Path, package: str) -> Sources:
    """Read the modules of ``package``, below ``root``; raises :class:`CompileError` where mypy complains."""
    options = MypyOptions()
    options.export_types = True
    options.preserve_asts = True
    options.incremental = False
    options.strict_optional = True
    options.mypy_path = [str(root)]
    options.python_version = (3, 11)
    options.cache_dir = "/dev/null"
    folder = root.joinpath(*package.split("."))
    sources = [
        BuildSource(str(path), f"{package}.{path.stem}")
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__init__"
    ]
    result = build.build(sources, options)
    if result.errors:
        raise CompileError("\n".join(result.errors))
    names = {source.module for source in sources}
    return Sources({name: file for name, file in result.files.items() if name in names}, result.types)
