"""Calls: of the decoder's own functions, of records, of the kit, and of what Python's own types have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mypy.nodes import ARG_STAR, ARG_STAR2
from mypy.types import Instance, TupleType

from allocfail.painless import types
from allocfail.painless.code import KNOWN, LESS, PLUS, PRIMARY, SAME, UNARY, Code, boxed, call, cast, wrap
from allocfail.painless.expressions import (
    condition,
    expression,
    is_simple,
    kind_of,
    of_constant,
    pattern_of,
    text,
    type_of,
    value,
)
from allocfail.painless.values import value_of

if TYPE_CHECKING:
    from allocfail.painless.code import Scope
    from allocfail.painless.sources import Function, Record

__all__ = ["call_expression", "compiled_call", "construct", "pattern_call"]

#: What is in this module has a twin by hand.
_KIT_MODULE = "allocfail.decoder.kit."
_BLANKS = "".join(map(chr, range(0x21)))


def call_expression(scope: Scope, node: Any) -> Code:
    """Return the translation of a call."""
    if ARG_STAR in node.arg_kinds:
        raise scope.error(node, "a call with *: name the arguments")
    found = pattern_call(scope, node, tested=False)
    if found is not None:
        return found
    name = getattr(node.callee, "fullname", "") or ""
    if name.startswith(_KIT_MODULE):
        return _kit_call(scope, node, name.removeprefix(_KIT_MODULE))
    function = scope.sources.functions.get(name)
    if function is not None and function.owner is None:
        if function.is_constant:
            return _constant_call(scope, node, name)
        return compiled_call(scope, node, function, [])
    record = scope.sources.records.get(name)
    if record is not None:
        return construct(scope, node, record, list(node.args), list(node.arg_names))
    if name in _FUNCTIONS:
        made: Code = _FUNCTIONS[name](scope, node)
        return made
    if type(node.callee).__name__ == "MemberExpr":
        return _method(scope, node)
    if name.startswith("allocfail.") and "." in name:
        record_made = _tuple_new(scope, node, name)
        if record_made is not None:
            return record_made
    if kind_of(scope, node.callee) == "List" and len(node.args) == 1:
        # A pattern among several.
        return call(
            scope.use_kit("rx_match"), (expression(scope, node.callee).text, _text(scope, node.args[0]), "0"), "List"
        )
    raise scope.error(node, f"{name or 'this call'} has no translation")


def _text(scope: Scope, node: Any) -> str:
    return expression(scope, node).text


def _tuple_new(scope: Scope, node: Any, name: str) -> Code | None:
    """Take ``tuple.__new__(Record, (…))``, by whatever name, for the record it makes."""
    try:
        same = value_of(name) is tuple.__new__
    except (ImportError, AttributeError, ValueError):
        return None
    record = scope.sources.records.get(node.args[0].fullname) if same else None
    if record is None:
        return None
    return construct(scope, node, record, node.args[1].items, [None] * len(node.args[1].items))


def _constant_call(scope: Scope, node: Any, name: str) -> Code:
    return of_constant(scope, node, name, value_of(name)())


def _kit_call(scope: Scope, node: Any, name: str) -> Code:
    scope.use_kit(name)
    kind = kind_of(scope, node)
    return call(name, [expression(scope, a).text for a in node.args], "def" if kind == "null" else kind)


# -- the decoder's own -------------------------------------------------------------------------------------------------


def compiled_call(scope: Scope, node: Any, function: Function, first: list[Code]) -> Code:
    """Return a call of a function of the decoder; ``first`` is the record of a method."""
    given = list(getattr(node, "args", []) if type(node).__name__ == "CallExpr" else [])
    names = list(getattr(node, "arg_names", []) if type(node).__name__ == "CallExpr" else [])
    parameters = function.node.arguments
    if first:
        parameters = parameters[1:]
    if any(parameter.kind in {ARG_STAR, ARG_STAR2} for parameter in parameters):
        raise scope.error(node, "a function with * or **: take a list")
    by_place: dict[str, Any] = {}
    for number, (argument, name) in enumerate(zip(given, names, strict=True)):
        by_place[name or parameters[number].variable.name] = argument
    arguments = [code.text for code in first]
    for parameter in parameters:
        wanted = types.painless(parameter.variable.type)
        passed: Any = by_place.get(parameter.variable.name, parameter.initializer)
        arguments.append(value(scope, passed, wanted).text)
    scope.unit.calls.add(function.fullname)
    known = KNOWN.format(name=function.fullname + ("," if arguments else ""))
    result = function.node.type.ret_type  # type: ignore[union-attr]
    kind = "void" if str(result) == "None" else types.painless(result)
    code = Code(f"{scope.names[function.fullname]}({known}{', '.join(arguments)})", PRIMARY, kind)
    return _narrowed(scope, node, code)


def _narrowed(scope: Scope, node: Any, code: Code) -> Code:
    """Return a value that is an object as what it is where it stands."""
    if code.kind != "def" or node not in scope.sources.types:
        return code
    kind = kind_of(scope, node)
    return code if kind in {"def", "null", "void"} else cast(code, kind)


def construct(scope: Scope, node: Any, record: Record, given: list[Any], names: list[str | None]) -> Code:
    """Return a new record: a list of its fields."""
    if not record.is_plain:
        function = record.methods["__init__"]
        scope.unit.calls.add(function.fullname)
        parameters = function.node.arguments[1:]
        arguments = [
            value(scope, a, types.painless(p.variable.type)).text for a, p in zip(given, parameters, strict=True)
        ]
        known = KNOWN.format(name=function.fullname + ("," if arguments else ""))
        return Code(f"{scope.names[function.fullname]}({known}{', '.join(arguments)})", PRIMARY, "List")
    fields = list(record.fields.values())
    values: dict[str, Any] = {}
    for number, (argument, name) in enumerate(zip(given, names, strict=True)):
        values[name or fields[number].name] = argument
    items: list[str] = []
    for field in fields:
        passed = values.get(field.name, field.default)
        if passed is None and field.factory is not None:
            items.append(_factory(scope, node, field.factory))
            continue
        if passed is None:
            raise scope.error(node, f"no value for {field.name}")
        items.append(boxed(expression(scope, passed)).text)
    return Code(f"[{', '.join(items)}]", PRIMARY, "List")


def _factory(scope: Scope, node: Any, name: str) -> str:
    simple = {
        "builtins.list": "new ArrayList()",
        "builtins.dict": "new LinkedHashMap()",
        "builtins.set": "new HashMap()",
    }
    if name in simple:
        return simple[name]
    record = scope.sources.records.get(name)
    if record is None:
        raise scope.error(node, f"a default made by {name}")
    return construct(scope, node, record, [], []).text


# -- regular expressions -----------------------------------------------------------------------------------------------


def pattern_call(scope: Scope, node: Any, *, tested: bool) -> Code | None:
    """Return a call of a pattern; None of any other call. ``tested`` says that only whether it matches counts."""
    callee = node.callee
    found = pattern_of(callee)
    mode = None
    if found is None and type(callee).__name__ == "MemberExpr":
        found = pattern_of(callee.expr)
        if found is None or not isinstance(found, re.Pattern):
            return None
        mode = callee.name
        callee = callee.expr
    if found is None:
        return None
    if mode is None and isinstance(found, re.Pattern):
        return None
    if mode == "findall" or getattr(found, "__name__", "") == "findall":
        pattern = found if isinstance(found, re.Pattern) else found.__self__
        program = of_constant(scope, node, callee.fullname, pattern)
        return call(scope.use_kit("rx_all"), (program.text, _text(scope, node.args[0])), "List")
    if mode in {"sub", "split"} or getattr(found, "__name__", "") in {"sub", "split"}:
        return _rewrite(scope, node, callee, found, mode or found.__name__)
    bound = getattr(found, mode) if mode else found
    program = of_constant(scope, node, callee.fullname, bound, "" if mode in {None, "search"} else f".{mode}")
    subject = _text(scope, node.args[0])
    at = cast(expression(scope, node.args[1]), "int").text if len(node.args) > 1 else "0"
    if tested:
        return call(scope.use_kit("rx_found"), (program.text, subject, at), "boolean")
    return call(scope.use_kit("rx_match"), (program.text, subject, at), "List")


def _rewrite(scope: Scope, node: Any, callee: Any, found: Any, mode: str) -> Code:
    pattern = found if isinstance(found, re.Pattern) else found.__self__
    program = of_constant(scope, node, callee.fullname, pattern)
    if mode == "split":
        return call(scope.use_kit("rx_split"), (program.text, _text(scope, node.args[0])), "List")
    if type(node.args[0]).__name__ != "StrExpr" or "\\" in node.args[0].value:
        raise scope.error(node, "sub() by anything but plain text")
    return call(scope.use_kit("rx_replace"), (program.text, *(_text(scope, a) for a in node.args)), "String")


# -- methods -----------------------------------------------------------------------------------------------------------


def _method(scope: Scope, node: Any) -> Code:
    callee = node.callee
    if type(callee.expr).__name__ == "StrExpr" and callee.name == "join" and _is_fstring(node):
        return _fstring(scope, node.args[0].items)
    if type(callee.expr).__name__ == "StrExpr" and callee.name == "format":
        return _fstring(scope, [node])
    record = scope.sources.records.get(getattr(callee.expr, "fullname", ""))
    if record is not None and callee.name in record.methods and record.methods[callee.name].is_static:
        return compiled_call(scope, node, record.methods[callee.name], [])
    owner = types.without_none(type_of(scope, callee.expr))
    if isinstance(owner, TupleType) and "namedtuple" in owner.partial_fallback.type.metadata:
        owner = owner.partial_fallback
    if isinstance(owner, Instance):
        for kind in owner.type.mro:
            function = scope.sources.functions.get(f"{kind.fullname}.{callee.name}")
            if function is not None:
                first = [] if function.is_static else [expression(scope, callee.expr)]
                return compiled_call(scope, node, function, first)
        if callee.name == "_replace":
            return _changed(scope, node, callee.expr, node.arg_names, node.args)
    if callee.name == "fromkeys" and getattr(callee.expr, "fullname", "") == "builtins.dict":
        return _fromkeys(scope, node)
    base = expression(scope, callee.expr)
    if callee.name == "join" and base.kind == "String":
        return call("String.join", (base.text, _listed(scope, node).text), "String")
    arguments = [] if callee.name == "translate" else [boxed(expression(scope, a)) for a in node.args]
    if str(owner).startswith("re.Match"):
        return _match_method(scope, node, base, arguments)
    tables = {"String": _STRINGS, "List": _LISTS, "Map": _SETS if _is_set(owner) else _MAPS}
    make = tables.get(base.kind, {}).get(callee.name)
    if make is None:
        raise scope.error(node, f".{callee.name}() of a {owner} has no translation")
    return _narrowed(scope, node, make(scope, node, base, arguments))


def _is_set(owner: Any) -> bool:
    return isinstance(owner, Instance) and owner.type.fullname in {
        "builtins.set",
        "builtins.frozenset",
        "typing.AbstractSet",
    }


def _match_method(scope: Scope, node: Any, base: Code, arguments: list[Code]) -> Code:
    name = node.callee.name
    group = arguments[0].text if arguments else "0L"
    if name in {"start", "end"}:
        return call(scope.use_kit(f"rx_{name}"), (base.text, group), "int")
    if name == "groups":
        return call(scope.use_kit("rx_groups"), (base.text,), "List")
    if name == "group":
        return call(scope.use_kit("rx_text"), (base.text, group), "String")
    raise scope.error(node, f".{name}() of a match has no translation")


def _is_fstring(node: Any) -> bool:
    """Whether a call is what mypy makes of an f-string: ``"".join([…])``."""
    return (
        node.callee.expr.value == ""
        and len(node.args) == 1
        and type(node.args[0]).__name__ == "ListExpr"
        and any(
            type(item).__name__ == "CallExpr"
            and type(item.callee).__name__ == "MemberExpr"
            and item.callee.name == "format"
            for item in node.args[0].items
        )
    )


def _fstring(scope: Scope, items: list[Any]) -> Code:
    parts: list[Code] = []
    for item in items:
        if type(item).__name__ == "StrExpr":
            parts.append(text(scope, item.value))
            continue
        inner, spec = item.args
        if item.callee.expr.value != "{:{}}":
            raise scope.error(item, "a conversion (!r, !s) within an f-string: make the text before")
        parts.append(_formatted(scope, inner, getattr(spec, "value", None)))
    if parts[0].kind != "String" and (len(parts) == 1 or parts[1].kind != "String"):
        parts.insert(0, Code("''", PRIMARY, "String"))
    return Code(
        " + ".join(wrap(part, PLUS + 1) for part in parts), PLUS if len(parts) > 1 else parts[0].strength, "String"
    )


def _formatted(scope: Scope, node: Any, spec: str | None) -> Code:
    code = expression(scope, node)
    if code.kind == "def":
        return call(scope.use_kit("text_of"), (code.text,), "String")
    if code.kind == "boolean" or code.kind not in {"String", "long", "int"}:
        owner = types.without_none(type_of(scope, node))
        function = (
            scope.sources.functions.get(f"{owner.type.fullname}.__str__") if isinstance(owner, Instance) else None
        )
        if function is not None:
            return compiled_call(scope, node, function, [code])
        raise scope.error(node, f"a {code.kind} within an f-string")
    if not spec:
        return code
    if found := re.fullmatch(r"0(\d)d", spec):
        return call(scope.use_kit("padded"), (code.text, found[1]), "String")
    if spec in {"#x", "x"}:
        hexed = Code(f"Long.toHexString({code.text})", PRIMARY, "String")
        return hexed if spec == "x" else Code(f"'0x' + {hexed.text}", PLUS, "String")
    raise scope.error(node, f"the format {spec!r}")


def _java(name: str, kind: str) -> Any:
    """Return what makes a call of Java's own method."""

    def make(_scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
        return call(f"{wrap(base, PRIMARY)}.{name}", (a.text for a in arguments), kind)

    return make


def _kit(name: str, kind: str) -> Any:
    """Return what makes a call of the kit's function."""

    def make(scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
        return call(scope.use_kit(name), (base.text, *(a.text for a in arguments)), kind)

    return make


def _affix(java: str, kit: str) -> Any:
    """Return what makes ``startswith`` or ``endswith``: of one text or several, at a place or not."""

    def make(scope: Scope, node: Any, base: Code, arguments: list[Code]) -> Code:
        if arguments[0].kind != "String":
            at = arguments[1].text if len(arguments) > 1 else "0L"
            more = (at,) if java == "startsWith" else ()
            return call(scope.use_kit(kit), (base.text, arguments[0].text, *more), "boolean")
        if len(arguments) > 1:
            if java != "startsWith":
                raise scope.error(node, "endswith with a place")
            return call(f"{wrap(base, PRIMARY)}.{java}", (arguments[0].text, cast(arguments[1], "int").text), "boolean")
        return call(f"{wrap(base, PRIMARY)}.{java}", (arguments[0].text,), "boolean")

    return make


def _find(scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    inner = wrap(base, PRIMARY)
    if len(arguments) == 1:
        return call(f"{inner}.indexOf", (arguments[0].text,), "int")
    if len(arguments) == 2:
        return call(f"{inner}.indexOf", (arguments[0].text, cast(arguments[1], "int").text), "int")
    return call(scope.use_kit("find_within"), (base.text, *(a.text for a in arguments)), "long")


def _rfind(scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    if len(arguments) == 1:
        return call(f"{wrap(base, PRIMARY)}.lastIndexOf", (arguments[0].text,), "int")
    high = arguments[2].text if len(arguments) > 2 else f"(long) {wrap(base, PRIMARY)}.length()"
    return call(scope.use_kit("find_last"), (base.text, arguments[0].text, arguments[1].text, high), "long")


def _strip(side: str) -> Any:
    def make(scope: Scope, node: Any, base: Code, arguments: list[Code]) -> Code:
        if not arguments:
            raise scope.error(node, f"{side}() without the characters: Java means other ones by blanks")
        if side == "strip" and _is_blanks(node.args[0]):
            return call(f"{wrap(base, PRIMARY)}.trim", (), "String")
        return call(scope.use_kit(side), (base.text, arguments[0].text), "String")

    return make


def _is_blanks(node: Any) -> bool:
    name = getattr(node, "fullname", "") or ""
    try:
        return bool(value_of(name) == _BLANKS)
    except (ImportError, AttributeError, ValueError):
        return False


def _translate(scope: Scope, node: Any, base: Code, _arguments: list[Code]) -> Code:
    name = node.args[0].fullname
    table = {chr(key): new for key, new in value_of(name).items()}
    made = of_constant(scope, node, name, table)
    return call(scope.use_kit("translate"), (base.text, made.text), "String")


def _split(scope: Scope, node: Any, base: Code, arguments: list[Code]) -> Code:
    if not arguments:
        raise scope.error(node, "split() without a separator: use a pattern's findall or split")
    name = "splits" if len(arguments) == 1 else "splits_most"
    return call(scope.use_kit(name), (base.text, *(a.text for a in arguments)), "List")


def _append(_scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    return call(f"{wrap(base, PRIMARY)}.add", (arguments[0].text,), "void")


def _pop(scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    if base.kind == "List" and not arguments:
        return call(scope.use_kit("pop_last"), (base.text,), "def")
    if base.kind == "List":
        return Code(f"{wrap(base, PRIMARY)}.remove({cast(arguments[0], 'int').text})", PRIMARY, "def")
    if len(arguments) > 1 and arguments[1].text != "null":
        return call(scope.use_kit("pop_or"), (base.text, *(a.text for a in arguments)), "def")
    return call(f"{wrap(base, PRIMARY)}.remove", (arguments[0].text,), "def")


def _get(_scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    name = "get" if len(arguments) == 1 or arguments[1].text == "null" else "getOrDefault"
    kept = arguments[:1] if name == "get" else arguments
    return call(f"{wrap(base, PRIMARY)}.{name}", (a.text for a in kept), "def")


def _add(_scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    return call(f"{wrap(base, PRIMARY)}.put", (arguments[0].text, "true"), "void")


def _update(scope: Scope, _node: Any, base: Code, arguments: list[Code]) -> Code:
    more = arguments[0].text
    if arguments[0].kind == "List":
        more = f"{scope.use_kit('set_of')}({more})"
    return call(f"{wrap(base, PRIMARY)}.putAll", (more,), "void")


def _values(method: str) -> Any:
    def make(_scope: Scope, _node: Any, base: Code, _arguments: list[Code]) -> Code:
        return Code(f"new ArrayList({wrap(base, PRIMARY)}.{method}())", PRIMARY, "List")

    return make


_STRINGS: dict[str, Any] = {
    "count": _kit("count", "long"),
    "endswith": _affix("endsWith", "ends_any"),
    "find": _find,
    "isascii": _kit("is_ascii", "boolean"),
    "isdigit": _kit("is_digits", "boolean"),
    "ljust": _kit("ljust", "String"),
    "lower": _java("toLowerCase", "String"),
    "lstrip": _strip("lstrip"),
    "partition": _kit("partition", "List"),
    "removeprefix": _kit("without_prefix", "String"),
    "removesuffix": _kit("without_suffix", "String"),
    "replace": _java("replace", "String"),
    "rfind": _rfind,
    "rjust": _kit("rjust", "String"),
    "rpartition": _kit("rpartition", "List"),
    "rstrip": _strip("rstrip"),
    "split": _split,
    "startswith": _affix("startsWith", "starts_any"),
    "strip": _strip("strip"),
    "translate": _translate,
    "upper": _java("toUpperCase", "String"),
}
_LISTS: dict[str, Any] = {
    "append": _append,
    "clear": _java("clear", "void"),
    "copy": lambda _s, _n, base, _a: Code(f"new ArrayList({base.text})", PRIMARY, "List"),
    "count": _kit("count_items", "long"),
    "extend": lambda _s, _n, base, a: call(f"{wrap(base, PRIMARY)}.addAll", (a[0].text,), "void"),
    "index": lambda _s, _n, base, a: call(f"{wrap(base, PRIMARY)}.indexOf", (a[0].text,), "int"),
    "insert": lambda _s, _n, base, a: call(f"{wrap(base, PRIMARY)}.add", (cast(a[0], "int").text, a[1].text), "void"),
    "pop": _pop,
    "popleft": lambda _s, _n, base, _a: Code(f"{wrap(base, PRIMARY)}.remove(0)", PRIMARY, "def"),
    "remove": _kit("remove_same", "void"),
    "reverse": lambda _s, _n, base, _a: call("Collections.reverse", (base.text,), "void"),
    "sort": lambda _s, _n, base, _a: call("Collections.sort", (base.text,), "void"),
}
_MAPS: dict[str, Any] = {
    "clear": _java("clear", "void"),
    "copy": lambda _s, _n, base, _a: Code(f"new LinkedHashMap({base.text})", PRIMARY, "Map"),
    "get": _get,
    "items": _kit("entries", "List"),
    "keys": _values("keySet"),
    "move_to_end": _kit("move_to_end", "void"),
    "pop": _pop,
    "popitem": _kit("pop_first", "List"),
    "setdefault": _kit("set_default", "def"),
    "update": _update,
    "values": _values("values"),
}
_SETS: dict[str, Any] = {
    "add": _add,
    "clear": _java("clear", "void"),
    "copy": _MAPS["copy"],
    "discard": lambda _s, _n, base, a: call(f"{wrap(base, PRIMARY)}.remove", (a[0].text,), "void"),
    "update": _update,
}


# -- Python's own functions --------------------------------------------------------------------------------------------


def _len(scope: Scope, node: Any) -> Code:
    code = expression(scope, node.args[0])
    method = "length" if code.kind == "String" else "size"
    return Code(f"{wrap(code, PRIMARY)}.{method}()", PRIMARY, "int")


def _int(scope: Scope, node: Any) -> Code:
    code = expression(scope, node.args[0])
    if code.kind in {"long", "int"}:
        return code
    if code.kind == "def":
        return call(scope.use_kit("whole"), (code.text,), "long")
    if code.kind == "boolean":
        return Code(f"{wrap(code, SAME)} ? 1L : 0L", 1, "long")
    if len(node.args) > 1:
        return call(scope.use_kit("number_of"), (code.text, cast(expression(scope, node.args[1]), "int").text), "long")
    return call("Long.parseLong", (code.text,), "long")


def _str(scope: Scope, node: Any) -> Code:
    code = expression(scope, node.args[0])
    if code.kind == "String":
        return code
    if code.kind in {"long", "int"}:
        return Code(f"'' + {wrap(code, PLUS + 1)}", PLUS, "String")
    return call(scope.use_kit("text_of"), (code.text,), "String")


def _listed(scope: Scope, node: Any) -> Code:
    """``list``, ``tuple``."""
    if not node.args:
        return Code("new ArrayList()", PRIMARY, "List")
    from allocfail.painless.loops import listed  # noqa: PLC0415 - the two call each other

    return listed(scope, node.args[0])


def _dicted(scope: Scope, node: Any) -> Code:
    if not node.args:
        return Code("new LinkedHashMap()", PRIMARY, "Map")
    code = expression(scope, node.args[0])
    if code.kind == "List":
        return call(scope.use_kit("dict_of"), (code.text,), "Map")
    if code.kind != "Map":
        raise scope.error(node, "dict() of a value of no certain type")
    return Code(f"new LinkedHashMap({code.text})", PRIMARY, "Map")


def _setted(scope: Scope, node: Any) -> Code:
    if not node.args:
        return Code("new HashMap()", PRIMARY, "Map")
    code = _listed(scope, node)
    return call(scope.use_kit("set_of"), (code.text,), "Map")


def _fromkeys(scope: Scope, node: Any) -> Code:
    return call(scope.use_kit("set_of"), (_listed(scope, node).text,), "Map")


def _sorted(scope: Scope, node: Any) -> Code:
    if len(node.args) > 1:
        raise scope.error(node, "sorted() by a key: sort tuples that begin with it")
    return call(scope.use_kit("in_order"), (_listed(scope, node).text,), "List")


def _extreme(name: str) -> Any:
    def make(scope: Scope, node: Any) -> Code:
        if len(node.args) == 2 and node.arg_names[1] is None:
            a, b = (cast(expression(scope, item), "long") for item in node.args)
            return call(scope.use_kit(f"{name}_two"), (a.text, b.text), "long")
        kind = kind_of(scope, node)
        default = expression(scope, node.args[1]).text if len(node.args) > 1 else "null"
        made = call(scope.use_kit(f"{name}_of"), (_listed(scope, node).text, default), "def")
        return cast(made, "def" if kind == "null" else kind)

    return make


def _sum(scope: Scope, node: Any) -> Code:
    return call(scope.use_kit("sum_of"), (_listed(scope, node).text,), "long")


def _any_all(name: str) -> Any:
    def make(scope: Scope, node: Any) -> Code:
        from allocfail.painless.loops import tested  # noqa: PLC0415 - the two call each other

        return tested(scope, node.args[0], every=name == "all")

    return make


def _next(scope: Scope, node: Any) -> Code:
    from allocfail.painless.loops import first  # noqa: PLC0415 - the two call each other

    return _narrowed(scope, node, first(scope, node))


def _isinstance(scope: Scope, node: Any) -> Code:
    name = getattr(node.args[0], "name", "")
    # Whatever mypy knows of it already: Painless must not.
    plain = type(node.args[0]).__name__ == "NameExpr" and scope.locals.get(name) == "def"
    code = Code(scope.local(name), PRIMARY, "def") if plain else expression(scope, node.args[0])
    kinds = node.args[1].items if type(node.args[1]).__name__ == "TupleExpr" else [node.args[1]]
    tests: list[str] = []
    for kind in kinds:
        name = kind.fullname
        if name == "builtins.int":
            tests.append(f"{scope.use_kit('is_whole')}({code.text})")
            continue
        java = {
            "builtins.str": "String",
            "builtins.bool": "Boolean",
            "builtins.dict": "Map",
            "builtins.list": "List",
            "builtins.float": "Double",
        }
        if name not in java:
            raise scope.error(node, f"isinstance of {name}")
        tests.append(f"{wrap(code, LESS)} instanceof {java[name]}")
    return Code(" || ".join(tests), 2 if len(tests) > 1 else LESS if " instanceof " in tests[0] else PRIMARY, "boolean")


def _bool(scope: Scope, node: Any) -> Code:
    return condition(scope, node.args[0])


def _ord(scope: Scope, node: Any) -> Code:
    argument = node.args[0]
    if type(argument).__name__ == "IndexExpr" and is_simple(argument):
        base = expression(scope, argument.base)
        return Code(
            f"(long) {wrap(base, PRIMARY)}.charAt({cast(expression(scope, argument.index), 'int').text})", UNARY, "long"
        )
    return Code(f"(long) {wrap(expression(scope, argument), PRIMARY)}.charAt(0)", UNARY, "long")


def _chr(scope: Scope, node: Any) -> Code:
    return Code(f"String.valueOf((char) {wrap(expression(scope, node.args[0]), UNARY)})", PRIMARY, "String")


def _abs(scope: Scope, node: Any) -> Code:
    return call(scope.use_kit("absolute"), (expression(scope, node.args[0]).text,), "long")


def _replace(scope: Scope, node: Any) -> Code:
    return _changed(scope, node, node.args[0], node.arg_names[1:], node.args[1:])


def _changed(scope: Scope, node: Any, changed: Any, names: list[str], given: list[Any]) -> Code:
    """Return a copy of a record with other values in some fields."""
    record = scope.sources.record_of(type_of(scope, changed))
    if record is None:
        raise scope.error(node, f"a change of a {type_of(scope, changed)}")
    pairs = ", ".join(
        f"{record.place(n)}, {boxed(expression(scope, a)).text}" for n, a in zip(names, given, strict=True)
    )
    return call(scope.use_kit("changed"), (_text(scope, changed), f"[{pairs}]"), "List")


def _cast(scope: Scope, node: Any) -> Code:
    return cast(expression(scope, node.args[1]), kind_of(scope, node))


_FUNCTIONS: dict[str, Any] = {
    "builtins.abs": _abs,
    "builtins.all": _any_all("all"),
    "builtins.any": _any_all("any"),
    "builtins.bool": _bool,
    "builtins.chr": _chr,
    "builtins.dict": _dicted,
    "builtins.dict.fromkeys": _fromkeys,
    "builtins.frozenset": _setted,
    "builtins.int": _int,
    "builtins.isinstance": _isinstance,
    "builtins.len": _len,
    "builtins.list": _listed,
    "builtins.max": _extreme("max"),
    "builtins.min": _extreme("min"),
    "builtins.next": _next,
    "builtins.ord": _ord,
    "builtins.set": _setted,
    "builtins.sorted": _sorted,
    "builtins.str": _str,
    "builtins.sum": _sum,
    "builtins.tuple": _listed,
    "collections.OrderedDict": _dicted,
    "collections.deque": _listed,
    "dataclasses.replace": _replace,
    "typing.cast": _cast,
}
