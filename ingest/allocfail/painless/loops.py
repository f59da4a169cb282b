"""Loops: statements, and comprehensions, which become functions of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.painless import types
from allocfail.painless.code import KNOWN, PRIMARY, Code, Scope, Unit, boxed, cast, wrap
from allocfail.painless.expressions import condition, expression, is_simple, kind_of, type_of
from allocfail.painless.walk import names_read, walk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["comprehension", "first", "listed", "loop", "tested", "unpack"]


def declared_as(scope: Scope, node: Any) -> str:
    """Return the Painless type of a loop's variable."""
    kind = scope.locals.get(node.name)
    if kind is None:
        kind = scope.locals[node.name] = types.painless(node.node.type)
    return kind


def loop(scope: Scope, index: Any, source: Any, body: Callable[[], None]) -> None:
    """Write a ``for``: its head by what is gone through, its body by ``body``."""
    name = getattr(getattr(source, "callee", None), "fullname", "") if type(source).__name__ == "CallExpr" else ""
    if name == "builtins.range":
        _range(scope, index, source, body)
    elif name in {"builtins.enumerate", "builtins.zip", "builtins.reversed"}:
        _counted(scope, index, source, name, body)
    elif type(source).__name__ == "CallExpr" and getattr(source.callee, "name", "") == "items" and not source.args:
        _items(scope, index, source.callee.expr, body)
    else:
        _each(scope, index, source, body)


def _block(scope: Scope, head: str, body: Callable[[], None]) -> None:
    scope.emit(head + " {")
    scope.depth += 1
    body()
    scope.depth -= 1
    scope.emit("}")


def _head_variable(scope: Scope, index: Any) -> tuple[str, bool]:
    """Return the head's variable, and whether it is a stand-in: the loop's own lives on behind the loop."""
    if index.name in scope.declared:
        return scope.fresh(), True
    declared_as(scope, index)
    return scope.local(index.name), False


def _range(scope: Scope, index: Any, source: Any, body: Callable[[], None]) -> None:
    parts = [cast(expression(scope, a), "long") for a in source.args]
    start = parts[0].text if len(parts) > 1 else "0L"
    limit = parts[1] if len(parts) > 1 else parts[0]
    step = parts[2].text if len(parts) > 2 else "1L"
    end = limit.text
    if not end.rstrip("L").lstrip("-").isdigit():
        end = scope.fresh()
        scope.emit(f"long {end} = {limit.text};")
    down = step.startswith("-")
    if not step.lstrip("-").rstrip("L").isdigit():
        raise scope.error(source, "range() by a step that is no constant")
    name, stand_in = _head_variable(scope, index)
    change = f"{name}--" if step == "-1L" else f"{name}++" if step == "1L" else f"{name} += {step}"

    def inner() -> None:
        if stand_in:
            scope.emit(f"{scope.local(index.name)} = {name};")
        body()

    _block(scope, f"for (long {name} = {start}; {name} {'>' if down else '<'} {end}; {change})", inner)


def _sequence(scope: Scope, node: Any) -> str:
    """Return a list's text: a name, so that it is evaluated once."""
    code = expression(scope, node)
    if code.kind == "String":
        return _named(scope, Code(f"{scope.use_kit('characters')}({code.text})", PRIMARY, "List"))
    if code.kind == "Map":
        return _named(scope, Code(f"new ArrayList({wrap(code, PRIMARY)}.keySet())", PRIMARY, "List"))
    return code.text if type(node).__name__ == "NameExpr" and code.strength == PRIMARY else _named(scope, code)


def _named(scope: Scope, code: Code) -> str:
    name = scope.fresh()
    scope.emit(f"{code.kind} {name} = {code.text};")
    return name


def _counted(scope: Scope, index: Any, source: Any, name: str, body: Callable[[], None]) -> None:
    """Write a loop that counts: ``enumerate``, ``zip``, ``reversed``."""
    lists = [_sequence(scope, a) for a in (source.args if name == "builtins.zip" else source.args[:1])]
    count = scope.fresh()
    targets = index.items if type(index).__name__ == "TupleExpr" else [index]
    if name == "builtins.reversed":
        head = f"for (int {count} = {lists[0]}.size() - 1; {count} >= 0; {count}--)"
        values = [f"{lists[0]}.get({count})"]
    else:
        limit = " && ".join(f"{count} < {found}.size()" for found in lists)
        head = f"for (int {count} = 0; {limit}; {count}++)"
        values = [f"{found}.get({count})" for found in lists]
    if name == "builtins.enumerate":
        start = expression(scope, source.args[1]).text if len(source.args) > 1 else None
        values.insert(0, f"(long) {count}" if start is None else f"{count} + {start}")

    def inner() -> None:
        if len(targets) != len(values):
            raise scope.error(source, "a loop's variables are written out")
        for number, (target, found) in enumerate(zip(targets, values, strict=True)):
            counted = name == "builtins.enumerate" and number == 0
            assign(scope, target, Code(found, PRIMARY, "long" if counted else "def"))
        body()

    _block(scope, head, inner)


def _items(scope: Scope, index: Any, source: Any, body: Callable[[], None]) -> None:
    entry = scope.fresh()

    def inner() -> None:
        for target, method in zip(index.items, ("getKey", "getValue"), strict=True):
            assign(scope, target, Code(f"{entry}.{method}()", PRIMARY, "def"))
        body()

    _block(scope, f"for (Map.Entry {entry} : {wrap(expression(scope, source), PRIMARY)}.entrySet())", inner)


def _each(scope: Scope, index: Any, source: Any, body: Callable[[], None]) -> None:
    code = expression(scope, source)
    if code.kind == "String":
        code = Code(f"{scope.use_kit('characters')}({code.text})", PRIMARY, "List")
    if code.kind == "Map":
        code = Code(f"{wrap(code, PRIMARY)}.keySet()", PRIMARY, "List")
    if code.kind != "List":
        raise scope.error(source, "a loop over a value of no certain type: narrow it by isinstance")
    if type(index).__name__ == "NameExpr":
        kind = types.painless(index.node.type)
        name, stand_in = _head_variable(scope, index)

        def inner() -> None:
            if stand_in:
                scope.emit(f"{scope.local(index.name)} = {name};")
            body()

        _block(scope, f"for ({kind} {name} : {code.text})", inner)
        return
    item = types.proper(types.item_type(type_of(scope, source)))
    kind = types.painless(item)
    name = scope.fresh()

    def unpacked() -> None:
        unpack(scope, index, Code(name, PRIMARY, kind))
        body()

    _block(scope, f"for ({kind} {name} : {code.text})", unpacked)


def assign(scope: Scope, target: Any, code: Code) -> None:
    """Give a loop's variable its value, declare it where that has not been done."""
    if type(target).__name__ == "TupleExpr":
        held = Code(_named(scope, cast(code, "List")), PRIMARY, "List")
        unpack(scope, target, held)
        return
    kind = declared_as(scope, target)
    shown = cast(code, kind)
    head = "" if target.name in scope.declared else f"{kind} "
    scope.emit(f"{head}{scope.local(target.name)} = {boxed(shown).text if kind == 'def' else shown.text};")


def unpack(scope: Scope, targets: Any, held: Code) -> None:
    """Give each of several variables its part of a tuple, or its field of a named tuple."""
    for number, target in enumerate(targets.items):
        if type(target).__name__ == "NameExpr" and target.name == "_":
            continue
        assign(scope, target, Code(f"{held.text}.get({number})", PRIMARY, "def"))


# -- comprehensions ----------------------------------------------------------------------------------------------------


def _helper(
    scope: Scope, generator: Any, parts: list[Any], result: str, *, write: Callable[[Scope], None], last: str
) -> Code:
    """Make a function of a comprehension: the variables it reads are its parameters; return a call of it."""
    outer = scope.function
    unit = Unit(f"{scope.unit.name}#{len(scope.helpers) + 1}")
    name = scope.names[outer.fullname] + unit.name.removeprefix(outer.fullname).replace("#", "_")
    scope.helpers.append(unit)
    inner = Scope(scope.sources, scope.names, outer, unit)
    own = {n for index in generator.indices for n in _bound(index)}
    inside = [*parts, *generator.sequences, *(c for cs in generator.condlists for c in cs)]
    own |= {
        n for part in inside for below in walk(part) for index in getattr(below, "indices", ()) for n in _bound(index)
    }
    free = [n for n in names_read(inside) if n in scope.locals and n not in own]
    inner.locals = {n: scope.locals[n] for n in free}
    parameters = ", ".join(f"{scope.locals[n]} {scope.local(n)}" for n in free)
    known = KNOWN.format(name="=" + unit.name + ("," if free else ""))
    unit.lines.append(f"{result} {name}({known}{parameters}) {{")
    head = (
        {"List": "List out = new ArrayList();", "Map": "Map out = new LinkedHashMap();"}.get(result)
        if last == "return out;"
        else None
    )
    if head:
        inner.locals["out"] = result
        inner.emit(head)
    _nested(inner, generator, 0, write)
    inner.emit(last)
    unit.lines.append("}")
    scope.helpers.extend(inner.helpers)
    scope.unit.calls.add(unit.name)
    arguments = ", ".join(scope.local(n) for n in free)
    return Code(f"{name}({KNOWN.format(name=unit.name + (',' if free else ''))}{arguments})", PRIMARY, result)


def _bound(index: Any) -> list[str]:
    if type(index).__name__ == "TupleExpr":
        return [n for item in index.items for n in _bound(item)]
    return [index.name]


def _nested(scope: Scope, generator: Any, depth: int, write: Callable[[Scope], None]) -> None:
    if depth == len(generator.indices):
        write(scope)
        return

    def body() -> None:
        tests = generator.condlists[depth]
        if not tests:
            _nested(scope, generator, depth + 1, write)
            return
        start = len(scope.unit.lines)
        joined = " && ".join(wrap(condition(scope, test), 4) for test in tests)
        for line in scope.waiting:
            scope.unit.lines.insert(start, " " * scope.depth + line)
        scope.waiting.clear()
        _block(scope, f"if ({joined})", lambda: _nested(scope, generator, depth + 1, write))

    for name in _walruses(generator.condlists[depth]):
        if name.name not in scope.locals:
            scope.locals[name.name] = types.painless(name.node.type)
            scope.declared.add(name.name)
            scope.emit(f"{scope.locals[name.name]} {scope.local(name.name)};")
    loop(scope, generator.indices[depth], generator.sequences[depth], body)


def _walruses(tests: list[Any]) -> list[Any]:
    return [n.target for test in tests for n in walk(test) if type(n).__name__ == "AssignmentExpr"]


def comprehension(scope: Scope, node: Any) -> Code:
    """Return a list, set or dict comprehension."""
    kind = type(node).__name__
    if kind == "DictionaryComprehension":

        def put(inner: Scope) -> None:
            inner.emit(
                f"out.put({boxed(expression(inner, node.key)).text}, {boxed(expression(inner, node.value)).text});"
            )

        return _helper(scope, node, [node.key, node.value], "Map", write=put, last="return out;")
    generator = node.generator
    if kind == "SetComprehension":

        def add(inner: Scope) -> None:
            inner.emit(f"out.put({boxed(expression(inner, generator.left_expr)).text}, true);")

        return _helper(scope, generator, [generator.left_expr], "Map", write=add, last="return out;")
    return _listing(scope, generator)


def _listing(scope: Scope, generator: Any) -> Code:
    def add(inner: Scope) -> None:
        inner.emit(f"out.add({boxed(expression(inner, generator.left_expr)).text});")

    return _helper(scope, generator, [generator.left_expr], "List", write=add, last="return out;")


def listed(scope: Scope, node: Any) -> Code:
    """Return a list of its own of anything that can be gone through."""
    kind = type(node).__name__
    if kind == "GeneratorExpr":
        return _listing(scope, node)
    if kind in {"ListComprehension", "ListExpr"}:
        return expression(scope, node)
    if kind == "CallExpr" and getattr(node.callee, "fullname", "") == "builtins.range":
        return Code(
            f"{scope.use_kit('numbers')}({', '.join(expression(scope, a).text for a in node.args)})", PRIMARY, "List"
        )
    if kind == "CallExpr" and getattr(node.callee, "fullname", "") == "builtins.reversed":
        return Code(f"{scope.use_kit('backwards')}({expression(scope, node.args[0]).text})", PRIMARY, "List")
    code = expression(scope, node)
    if code.kind == "String":
        return Code(f"{scope.use_kit('characters')}({code.text})", PRIMARY, "List")
    if code.kind == "Map":
        return Code(f"new ArrayList({wrap(code, PRIMARY)}.keySet())", PRIMARY, "List")
    return Code(f"new ArrayList({code.text})", PRIMARY, "List")


def tested(scope: Scope, node: Any, *, every: bool) -> Code:
    """Return ``any()`` or ``all()``."""
    if type(node).__name__ != "GeneratorExpr":
        name = scope.use_kit("all_true" if every else "any_true")
        return Code(f"{name}({expression(scope, node).text})", PRIMARY, "boolean")

    def leave(inner: Scope) -> None:
        start = len(inner.unit.lines)
        found = condition(inner, node.left_expr)
        for line in inner.waiting:
            inner.unit.lines.insert(start, " " * inner.depth + line)
        inner.waiting.clear()
        test = f"!{wrap(found, PRIMARY)}" if every else found.text
        inner.emit(f"if ({test}) {{")
        inner.emit(f" return {'false' if every else 'true'};")
        inner.emit("}")

    return _helper(
        scope, node, [node.left_expr], "boolean", write=leave, last=f"return {'true' if every else 'false'};"
    )


def first(scope: Scope, node: Any) -> Code:
    """Return ``next(…, default)``."""
    generator = node.args[0]
    if type(generator).__name__ != "GeneratorExpr" or len(node.args) != 2 or not is_simple(node.args[1]):
        raise scope.error(node, "next() of a generator expression, with a plain default")
    kind = kind_of(scope, node)
    kind = kind if kind not in {"long", "boolean", "null"} else "def"
    if not any(generator.condlists):
        # A loop that always ends in its first turn is none to Painless.
        otherwise = expression(scope, node.args[1]).text
        return cast(
            Code(f"{scope.use_kit('first_of')}({_listing(scope, generator).text}, {otherwise})", PRIMARY, "def"), kind
        )

    def leave(inner: Scope) -> None:
        inner.emit(f"return {boxed(cast(expression(inner, generator.left_expr), kind)).text};")

    return _helper(
        scope,
        generator,
        [generator.left_expr, node.args[1]],
        kind,
        write=leave,
        last=f"return {expression(scope, node.args[1]).text};",
    )
