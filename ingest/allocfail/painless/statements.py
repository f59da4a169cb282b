"""Statements and functions. A variable is declared where its first value stands, if all that reads it stands behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mypy.types import Instance, TupleType

from allocfail.painless import types
from allocfail.painless.code import KNOWN, PRIMARY, Code, Scope, Unit, boxed, cast, wrap
from allocfail.painless.expressions import condition, expression, is_simple, kind_of, type_of, value
from allocfail.painless.loops import loop, unpack
from allocfail.painless.sources import is_docstring
from allocfail.painless.walk import names_read, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocfail.painless.sources import Function, Sources

__all__ = ["compile_function"]


def compile_function(sources: Sources, names: dict[str, str], function: Function) -> list[Unit]:
    """Return the Painless of a function, and of the comprehensions in it."""
    unit = Unit(function.fullname)
    scope = Scope(sources, names, function, unit)
    node = function.node
    parameters: list[str] = []
    makes = node.name == "__init__"
    for argument in node.arguments:
        name = argument.variable.name
        if name == "self" and function.owner is not None:
            scope.locals["self"] = "List"
            if not makes:
                parameters.append("List self")
            continue
        kind = types.painless(argument.variable.type)
        scope.locals[name] = kind
        parameters.append(f"{kind} {scope.local(name)}")
    scope.declared |= set(scope.locals)
    result = node.type.ret_type  # type: ignore[union-attr]
    gives = "List" if makes else "void" if str(result) == "None" else types.painless(result)
    scope.locals[""] = gives
    known = KNOWN.format(name="=" + function.fullname + ("," if parameters else ""))
    unit.lines.append(f"{gives} {names[function.fullname]}({known}{', '.join(parameters)}) {{")
    if makes:
        nothing = ", ".join("null" for _ in function.owner.layout) if function.owner is not None else ""
        scope.emit(f"List self = [{nothing}];")
    placed = _Placed(node.body, set(scope.locals))
    _statements(scope, node.body.body, placed)
    if makes:
        scope.emit("return self;")
    elif gives != "void" and _falls_through(node.body.body):
        scope.emit("return null;")
    unit.lines.append("}")
    return [unit, *scope.helpers]


_CAST = re.compile(r"^\((?:String|long|int|boolean|Map|List)\) ")


class _Placed:
    """Where each variable of a function is declared: in front of which statement, or in it."""

    def __init__(self, body: Any, parameters: set[str]) -> None:
        self.within: dict[int, list[Any]] = {}
        """By the identity of an assignment: the variables that it declares."""
        self.before: dict[int, list[Any]] = {}
        """By the identity of a statement: the variables that are declared in front of it."""
        self._found: dict[str, tuple[Any, list[tuple[int, int, Any]]]] = {}
        self._loops: set[int] = set()
        self._parameters = parameters
        self._visit_block(body.body, [])
        for name, (variable, path) in self._found.items():
            del name
            self._place(variable, path)

    def _visit_block(self, body: list[Any], path: list[tuple[int, int, Any]]) -> None:
        for number, statement in enumerate(body):
            self._visit(statement, [*path, (id(body), number, statement)])

    def _visit(self, statement: Any, path: list[tuple[int, int, Any]]) -> None:
        kind = type(statement).__name__
        if kind == "IfStmt":
            for test in statement.expr:
                self._names(test, path)
            for block in statement.body:
                self._visit_block(block.body, path)
            if statement.else_body is not None:
                inner = statement.else_body.body
                if len(inner) == 1 and type(inner[0]).__name__ == "IfStmt":
                    # An elif: what it tests stands in front of the whole.
                    self._visit(inner[0], path)
                else:
                    self._visit_block(inner, path)
        elif kind in {"WhileStmt", "ForStmt"}:
            self._loops.add(id(statement.body.body))
            self._names(statement.expr, path)
            if kind == "ForStmt":
                for name in _targets(statement.index):
                    self._note(name, [*path, (id(statement.body.body), -1, statement)])
            self._visit_block(statement.body.body, path)
        else:
            self._names(statement, path)

    def _names(self, node: Any, path: list[tuple[int, int, Any]]) -> None:
        bound = _bound_inside(node)
        for inner in walk(node):
            if (
                type(inner).__name__ == "NameExpr"
                and _is_local(inner)
                and id(inner.node) not in bound
                and inner.name not in self._parameters
            ):
                self._note(inner, path)

    def _note(self, name: Any, path: list[tuple[int, int, Any]]) -> None:
        if name.name not in self._found:
            self._found[name.name] = (name, path)
            return
        variable, before = self._found[name.name]
        common = 0
        while common < min(len(before), len(path)) and before[common][:2] == path[common][:2]:
            common += 1
        if common < len(before):
            # The first statement of the innermost block that has all of them.
            same_block = common < len(path) and before[common][0] == path[common][0]
            before = before[: common + 1] if same_block else before[:common] or before[:1]
        self._found[name.name] = (variable, before)

    def _place(self, variable: Any, path: list[tuple[int, int, Any]]) -> None:
        block, number, statement = path[-1]
        if number < 0:
            return  # a loop's own variable
        del block
        if type(statement).__name__ == "AssignmentStmt" and self._declares(statement, variable.name):
            self.within.setdefault(id(statement), []).append(variable)
            return
        # A loop keeps a variable from one turn to the next.
        for place, _, outer in path:
            if place in self._loops:
                break
            statement = outer
        self.before.setdefault(id(statement), []).append(variable)

    @staticmethod
    def _declares(statement: Any, name: str) -> bool:
        if len(statement.lvalues) != 1:
            return False
        target = next((target for target in _targets(statement.lvalues[0]) if target.name == name), None)
        return target is not None and all(
            getattr(below, "node", None) is not target.node for below in walk(statement.rvalue)
        )


def _is_local(node: Any) -> bool:
    variable = node.node
    return type(variable).__name__ == "Var" and "." not in (variable.fullname or ".")


def _bound_inside(node: Any) -> set[int]:
    """Return the variables of comprehensions, by identity."""
    found: set[int] = set()
    for inner in walk(node):
        if type(inner).__name__ in {"GeneratorExpr", "DictionaryComprehension"}:
            for index in inner.indices:
                found |= {id(target.node) for target in _targets(index)}
            for test in (t for tests in inner.condlists for t in tests):
                found |= {id(n.target.node) for n in walk(test) if type(n).__name__ == "AssignmentExpr"}
    return found


def _targets(node: Any) -> list[Any]:
    """Return the plain names among what is assigned to."""
    if type(node).__name__ in {"TupleExpr", "ListExpr"}:
        return [name for item in node.items for name in _targets(item)]
    return [node] if type(node).__name__ == "NameExpr" else []


def _falls_through(body: list[Any]) -> bool:
    """Whether what stands behind the statements can be reached."""
    if not body:
        return True
    last = body[-1]
    kind = type(last).__name__
    if kind == "ReturnStmt":
        return False
    if kind == "IfStmt":
        return last.else_body is None or any(_falls_through(b.body) for b in [*last.body, last.else_body])
    if kind == "WhileStmt" and type(last.expr).__name__ == "NameExpr" and last.expr.name == "True":
        return any(type(n).__name__ == "BreakStmt" for n in walk(last.body))
    return True


def _statements(scope: Scope, body: list[Any], placed: _Placed) -> None:
    for statement in body:
        if is_docstring(statement):
            continue
        for variable in placed.before.get(id(statement), ()):
            _declare(scope, variable)
        start = len(scope.unit.lines)
        make = _MAKERS.get(type(statement).__name__)
        if make is None:
            raise scope.untranslated(statement)
        make(scope, statement, placed)
        for line in reversed(scope.waiting):
            scope.unit.lines.insert(start, " " * scope.depth + line)
        scope.waiting.clear()


def _declare(scope: Scope, variable: Any) -> None:
    kind = types.painless(variable.node.type)
    scope.locals[variable.name] = kind
    scope.declared.add(variable.name)
    scope.emit(f"{kind} {scope.local(variable.name)};")


def _block(scope: Scope, head: str, body: Any, placed: _Placed) -> None:
    waiting, scope.waiting = scope.waiting, []
    scope.emit(head)
    scope.depth += 1
    before = len(scope.unit.lines)
    _statements(scope, body.body, placed)
    if len(scope.unit.lines) == before:
        raise scope.error(body, "a block that does nothing: Painless takes none")
    scope.depth -= 1
    scope.waiting = waiting


def _if(scope: Scope, node: Any, placed: _Placed, head: str = "if") -> None:
    _block(scope, f"{head} ({condition(scope, node.expr[0]).text}) {{", node.body[0], placed)
    rest = node.else_body
    if rest is None:
        scope.emit("}")
    elif len(rest.body) == 1 and type(rest.body[0]).__name__ == "IfStmt":
        _if(scope, rest.body[0], placed, "} else if")
    else:
        _block(scope, "} else {", rest, placed)
        scope.emit("}")


def _while(scope: Scope, node: Any, placed: _Placed) -> None:
    _no_else(scope, node)
    _block(scope, f"while ({condition(scope, node.expr).text}) {{", node.body, placed)
    scope.emit("}")


def _for(scope: Scope, node: Any, placed: _Placed) -> None:
    _no_else(scope, node)

    def body() -> None:
        waiting, scope.waiting = scope.waiting, []
        _statements(scope, node.body.body, placed)
        scope.waiting = waiting

    loop(scope, node.index, node.expr, body)


def _no_else(scope: Scope, node: Any) -> None:
    if node.else_body is not None:
        raise scope.error(node, "a loop with else: use a variable")


def _return(scope: Scope, node: Any, _placed: _Placed) -> None:
    kind = scope.locals[""]
    if node.expr is None:
        scope.emit("return;" if kind == "void" else "return null;")
        return
    if kind == "void":
        scope.emit("return;")
        return
    code = value(scope, node.expr, kind)
    scope.emit(f"return {boxed(code).text if kind == 'def' else code.text};")


def _expression(scope: Scope, node: Any, _placed: _Placed) -> None:
    # What nobody uses need not be cast, and may not.
    scope.emit(_CAST.sub("", expression(scope, node.expr).text) + ";")


def _assignment(scope: Scope, node: Any, placed: _Placed) -> None:
    inside = {v.name for v in placed.within.get(id(node), ())}
    if type(node.rvalue).__name__ == "TempNode":
        return  # a declaration without a value
    first = node.lvalues[-1]
    if type(first).__name__ in {"TupleExpr", "ListExpr"}:
        _unpacking(scope, node, first, inside)
        return
    if len(node.lvalues) == 1:
        _store(scope, first, node.rvalue, inside)
        return
    _store(scope, first, node.rvalue, inside)
    for target in reversed(node.lvalues[:-1]):
        if type(target).__name__ in {"TupleExpr", "ListExpr"}:
            _parts(scope, target, expression(scope, first), inside)
        else:
            _store(scope, target, first, inside)


def _store(scope: Scope, target: Any, source: Any, inside: set[str]) -> None:
    name = type(target).__name__
    if name == "NameExpr":
        kind = scope.locals.get(target.name) or types.painless(target.node.type)
        scope.locals[target.name] = kind
        made = _as(scope, source, kind)
        scope.emit(f"{_head(scope, target, kind, inside)}{scope.local(target.name)} = {made};")
    elif name == "MemberExpr":
        kind = types.painless(scope.sources.types.get(target) or _field_type(scope, target))
        scope.emit(f"{_field(scope, target, _as(scope, source, kind))};")
    elif name == "IndexExpr":
        base = expression(scope, target.base)
        item = boxed(expression(scope, source)).text
        if base.kind == "List":
            index = cast(expression(scope, target.index), "int").text
            scope.emit(f"{wrap(base, PRIMARY)}.set({index}, {item});")
        else:
            scope.emit(f"{wrap(base, PRIMARY)}.put({boxed(expression(scope, target.index)).text}, {item});")
    else:
        raise scope.error(target, f"an assignment to a {name}")


def _field(scope: Scope, target: Any, given: str) -> str:
    """Return a statement that gives a record's field its value."""
    record = scope.sources.record_of(type_of(scope, target.expr))
    if record is None:
        raise scope.error(target, f"a field of a {type_of(scope, target.expr)}")
    return f"{wrap(expression(scope, target.expr), PRIMARY)}.set({record.place(target.name)}, {given})"


def _field_type(scope: Scope, target: Any) -> Any:
    owner = types.without_none(type_of(scope, target.expr))
    if isinstance(owner, TupleType):
        owner = owner.partial_fallback
    if isinstance(owner, Instance):
        symbol = owner.type.get(target.name)
        if symbol is not None:
            return getattr(symbol.node, "type", None)
    return None


def _as(scope: Scope, source: Any, kind: str) -> str:
    code = value(scope, source, kind)
    return boxed(code).text if kind == "def" else code.text


def _head(scope: Scope, target: Any, kind: str, inside: set[str]) -> str:
    if target.name in inside and target.name not in scope.declared:
        scope.declared.add(target.name)
        return f"{kind} "
    return ""


def _unpacking(scope: Scope, node: Any, targets: Any, inside: set[str]) -> None:
    source = node.rvalue
    if type(source).__name__ == "TupleExpr" and len(source.items) == len(targets.items):
        assigned: set[str] = set()
        clash = False
        changed: set[str] = set()
        for target, item in zip(targets.items, source.items, strict=True):
            clash = clash or bool(assigned & set(names_read([item])))
            # What a field or an item held before is read before it is changed.
            read = {"MemberExpr": getattr(item, "name", ""), "IndexExpr": "[]"}.get(type(item).__name__)
            clash = clash or read in changed
            if type(target).__name__ == "MemberExpr":
                changed.add(target.name)
            elif type(target).__name__ == "IndexExpr":
                changed.add("[]")
            assigned |= {name.name for name in _targets(target)}
            clash = clash or (type(target).__name__ != "NameExpr" and not is_simple(item))
        if not clash:
            for target, item in zip(targets.items, source.items, strict=True):
                _store(scope, target, item, inside)
            return
        held: list[tuple[Any, Code]] = []
        for target, item in zip(targets.items, source.items, strict=True):
            code = expression(scope, item)
            kind = "def" if code.kind == "null" else "long" if code.kind == "int" else code.kind
            name = scope.fresh()
            scope.emit(f"{kind} {name} = {code.text};")
            held.append((target, Code(name, PRIMARY, kind)))
        for target, code in held:
            _put(scope, target, code, inside)
        return
    code = expression(scope, source)
    name = scope.fresh()
    scope.emit(f"{code.kind} {name} = {code.text};")
    _parts(scope, targets, Code(name, PRIMARY, code.kind), inside)


def _parts(scope: Scope, targets: Any, held: Code, inside: set[str]) -> None:
    """Give each target its part of what is held, a tuple or a named tuple."""
    for number, target in enumerate(targets.items):
        _put(scope, target, Code(f"{held.text}.get({number})", PRIMARY, "def"), inside)


def _put(scope: Scope, target: Any, code: Code, inside: set[str]) -> None:
    """Give a variable, a field or an item a value that is there already."""
    if type(target).__name__ == "NameExpr":
        if target.name == "_":
            return
        kind = scope.locals.get(target.name) or types.painless(target.node.type)
        scope.locals[target.name] = kind
        scope.emit(f"{_head(scope, target, kind, inside)}{scope.local(target.name)} = {cast(code, kind).text};")
    elif type(target).__name__ == "MemberExpr":
        scope.emit(f"{_field(scope, target, boxed(code).text)};")
    elif type(target).__name__ in {"TupleExpr", "ListExpr"}:
        unpack(scope, target, cast(code, "List"))
    else:
        raise scope.error(target, "an unpacking into an item")


def _augmented(scope: Scope, node: Any, _placed: _Placed) -> None:
    target = node.lvalue
    kind = kind_of(scope, target)
    if kind == "List" and node.op == "+":
        scope.emit(f"{wrap(expression(scope, target), PRIMARY)}.addAll({expression(scope, node.rvalue).text});")
        return
    if kind == "Map" and node.op == "|":
        scope.emit(f"{wrap(expression(scope, target), PRIMARY)}.putAll({expression(scope, node.rvalue).text});")
        return
    if type(target).__name__ == "NameExpr" and scope.locals.get(target.name) in {"long", "String"}:
        right = expression(scope, node.rvalue)
        if node.op in {"<<", ">>"}:
            right = cast(right, "int")
        if node.op not in {"//", "%"}:
            scope.emit(f"{scope.local(target.name)} {node.op}= {right.text};")
            return
    made = _binary(scope, node)
    if type(target).__name__ == "NameExpr":
        scope.emit(f"{scope.local(target.name)} = {made.text};")
    elif type(target).__name__ == "MemberExpr":
        scope.emit(f"{_field(scope, target, boxed(made).text)};")
    else:
        base = wrap(expression(scope, target.base), PRIMARY)
        index = expression(scope, target.index)
        method = "set" if kind_of(scope, target.base) == "List" else "put"
        place = cast(index, "int") if method == "set" else boxed(index)
        scope.emit(f"{base}.{method}({place.text}, {boxed(made).text});")


def _binary(scope: Scope, node: Any) -> Code:
    left, right = expression(scope, node.lvalue), expression(scope, node.rvalue)
    if node.op in {"//", "%"}:
        return Code(
            f"{scope.use_kit('floor_div' if node.op == '//' else 'floor_mod')}({left.text}, {right.text})",
            PRIMARY,
            "long",
        )
    if node.op in {"|", "&"} and left.kind == "boolean":
        return Code(f"{wrap(left, 5)} {node.op} {wrap(right, 5)}", 3, "boolean")
    if node.op in {"<<", ">>"}:
        right = cast(right, "int")
    return Code(f"{wrap(left, 9)} {node.op} {wrap(right, 10)}", 8, left.kind)


def _delete(scope: Scope, node: Any, _placed: _Placed) -> None:
    target = node.expr
    if type(target).__name__ == "NameExpr" or (
        type(target).__name__ == "TupleExpr" and all(type(item).__name__ == "NameExpr" for item in target.items)
    ):
        return  # a parameter that is not used
    if type(target).__name__ != "IndexExpr":
        raise scope.error(node, "del of anything but an item")
    base = expression(scope, target.base)
    if type(target.index).__name__ == "SliceExpr":
        part = target.index
        low = expression(scope, part.begin_index).text if part.begin_index is not None else "0L"
        high = expression(scope, part.end_index).text if part.end_index is not None else f"(long) {base.text}.size()"
        scope.emit(f"{scope.use_kit('remove_items')}({base.text}, {low}, {high});")
        return
    index = expression(scope, target.index)
    shown = cast(index, "int") if base.kind == "List" else boxed(index)
    scope.emit(f"{wrap(base, PRIMARY)}.remove({shown.text});")


def _simple(word: str) -> Callable[[Scope, Any, _Placed], None]:
    def make(scope: Scope, _node: Any, _placed: _Placed) -> None:
        scope.emit(f"{word};")

    return make


def _nothing(scope: Scope, node: Any, _placed: _Placed) -> None:
    raise scope.error(node, "pass: Painless takes no empty block")


def _inner_block(scope: Scope, node: Any, placed: _Placed) -> None:
    _statements(scope, node.body, placed)


_MAKERS: dict[str, Callable[..., None]] = {
    "AssignmentStmt": _assignment,
    "Block": _inner_block,
    "BreakStmt": _simple("break"),
    "ContinueStmt": _simple("continue"),
    "DelStmt": _delete,
    "ExpressionStmt": _expression,
    "ForStmt": _for,
    "IfStmt": _if,
    "ImportFrom": lambda *_: None,
    "OperatorAssignmentStmt": _augmented,
    "PassStmt": _nothing,
    "ReturnStmt": _return,
    "WhileStmt": _while,
}
