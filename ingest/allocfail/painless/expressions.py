"""Expressions: one function a kind of node of mypy's syntax tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mypy.types import Instance, NoneType, TupleType

from allocfail.painless import types
from allocfail.painless.code import (
    AND,
    BITS,
    CHOICE,
    LESS,
    OR,
    PLUS,
    PRIMARY,
    SAME,
    SHIFT,
    TIMES,
    UNARY,
    Code,
    boxed,
    call,
    cast,
    literal,
    wrap,
)
from allocfail.painless.regex import UnsupportedPatternError
from allocfail.painless.values import INLINE, UnsupportedValueError, as_param, is_pattern, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy.nodes import Expression

    from allocfail.painless.code import Scope
    from allocfail.painless.sources import Record

__all__ = ["condition", "expression", "is_simple", "kind_of", "negated", "read_field", "value"]

_ARITHMETIC = {"+": PLUS, "-": PLUS, "*": TIMES, "<<": SHIFT, ">>": SHIFT, "&": BITS, "|": BITS, "^": BITS}
_COMPARE = {"<": LESS, "<=": LESS, ">": LESS, ">=": LESS, "==": SAME, "!=": SAME}


def type_of(scope: Scope, node: Expression) -> Any:
    """Return mypy's type of an expression, as narrowed where it stands."""
    return scope.sources.types.get(node)


def kind_of(scope: Scope, node: Expression) -> str:
    """Return the Painless type of an expression."""
    found = types.proper(type_of(scope, node))
    return "null" if isinstance(found, NoneType) else types.painless(found)


def expression(scope: Scope, node: Expression) -> Code:
    """Return an expression's translation."""
    make = _MAKERS.get(type(node).__name__)
    if make is None:
        raise scope.untranslated(node)
    return make(scope, node)


def value(scope: Scope, node: Expression, kind: str) -> Code:
    """Return an expression as ``kind``."""
    name = type(node).__name__
    if name == "ConditionalExpr":
        return _conditional(scope, node, kind)
    return cast(expression(scope, node), kind)


def is_simple(node: Any) -> bool:
    """Whether an expression may be evaluated twice."""
    name = type(node).__name__
    if name == "MemberExpr":
        return is_simple(node.expr)
    if name == "IndexExpr":
        return is_simple(node.base) and is_simple(node.index)
    if name == "UnaryExpr":
        return is_simple(node.expr)
    if name == "OpExpr":
        return node.op in {"+", "-"} and is_simple(node.left) and is_simple(node.right)
    return name in {"NameExpr", "IntExpr", "StrExpr"}


# -- literals and names ------------------------------------------------------------------------------------------------


def _int(_scope: Scope, node: Any) -> Code:
    return Code(f"{node.value}L", PRIMARY, "long")


def _str(scope: Scope, node: Any) -> Code:
    return text(scope, node.value)


def text(scope: Scope, found: str) -> Code:
    """Return a text; what Painless cannot write comes with ``params``."""
    if len(found) <= INLINE and all(c >= " " for c in found):
        return Code(literal(found), PRIMARY, "String")
    names = {"\n": "newline", "\t": "tab", "\r": "carriage_return"}
    key = names.get(found) or "text " + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in found)[:60]
    return Code(f"(String) {scope.constant(key, found)}", UNARY, "String")


def _name(scope: Scope, node: Any) -> Code:
    name = node.fullname or node.name
    if name == "builtins.True":
        return Code("true", PRIMARY, "boolean")
    if name == "builtins.False":
        return Code("false", PRIMARY, "boolean")
    if name == "builtins.None":
        return Code("null", PRIMARY, "null")
    if node.name in scope.locals and "." not in (getattr(node.node, "fullname", "") or ""):
        kind = scope.locals[node.name]
        found = Code(scope.local(node.name), PRIMARY, kind)
        narrowed = kind_of(scope, node)
        return cast(found, narrowed) if kind == "def" and narrowed not in {"def", "null"} else found
    return constant(scope, node, name)


def constant(scope: Scope, node: Any, name: str) -> Code:
    """Return a module's variable: its value is taken when it is compiled."""
    try:
        found = value_of(name)
    except (ImportError, AttributeError, ValueError):
        raise scope.error(node, f"{name} is no local variable and no constant of a module") from None
    return of_constant(scope, node, name, found)


def of_constant(scope: Scope, node: Any, name: str, found: Any, mode: str = "") -> Code:
    """Return a value that is known when it is compiled; ``mode`` tells apart what is made of one name."""
    if isinstance(found, bool):
        return Code("true" if found else "false", PRIMARY, "boolean")
    if isinstance(found, int):
        return Code(f"{found}L", PRIMARY if found >= 0 else UNARY, "long")
    if isinstance(found, str) and len(found) <= INLINE and all(c >= " " for c in found):
        return Code(literal(found), PRIMARY, "String")
    if found is None:
        return Code("null", PRIMARY, "null")
    try:
        made = as_param(found)
    except (UnsupportedPatternError, UnsupportedValueError) as error:
        raise scope.error(node, f"{name}: {error}") from error
    kind = "Map" if isinstance(made, dict) else "List" if isinstance(made, list) else "String"
    module, _, own = name.rpartition(".")
    key = f"{module.rpartition('.')[2]}.{own.lstrip('_')}{mode}"
    return Code(f"({kind}) {scope.constant(key, made)}", UNARY, kind)


def pattern_of(node: Any) -> Any:
    """Return the compiled pattern, or its bound method, that a name stands for; None for any other expression."""
    if type(node).__name__ not in {"NameExpr", "MemberExpr"} or not getattr(node, "fullname", None):
        return None
    if "." not in node.fullname or not node.fullname.startswith("allocfail."):
        return None
    try:
        found = value_of(node.fullname)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if is_pattern(found) else None


def read_field(owner: Code, record: Record, name: str, kind: str) -> Code:
    """Return a field of a record."""
    return cast(Code(f"{wrap(owner, PRIMARY)}.get({record.place(name)})", PRIMARY, "def"), kind)


def _member(scope: Scope, node: Any) -> Code:
    owner = types.without_none(type_of(scope, node.expr)) if node.expr in scope.sources.types else None
    if isinstance(owner, TupleType):
        owner = owner.partial_fallback
    if isinstance(owner, Instance):
        function = scope.sources.functions.get(f"{owner.type.fullname}.{node.name}")
        if function is not None and function.is_property:
            from allocfail.painless.calls import compiled_call  # noqa: PLC0415 - the two call each other

            return compiled_call(scope, node, function, [expression(scope, node.expr)])
        record = scope.sources.records.get(owner.type.fullname)
        if record is not None:
            kind = kind_of(scope, node)
            return read_field(expression(scope, node.expr), record, node.name, "def" if kind == "null" else kind)
    if node.fullname and "." in node.fullname:
        return constant(scope, node, node.fullname)
    raise scope.error(node, f".{node.name} of a {type_of(scope, node.expr)} has no translation")


# -- operators ---------------------------------------------------------------------------------------------------------


def _operator(scope: Scope, node: Any) -> Code:
    if node.op in {"and", "or"}:
        return _and_or(scope, node)
    left, right = expression(scope, node.left), expression(scope, node.right)
    if node.op in {"//", "%"}:
        if node.op == "%" and left.kind == "String":
            raise scope.error(node, "write an f-string")
        name = scope.use_kit("floor_div" if node.op == "//" else "floor_mod")
        return call(name, (left.text, right.text), "long")
    if left.kind == "List" or right.kind == "List":
        return call(scope.use_kit("joined"), (left.text, right.text), "List")
    if left.kind == "Map":
        names = {"|": "merged", "&": "common", "-": "without"}
        if node.op not in names:
            raise scope.error(node, f"{node.op} between maps")
        return call(scope.use_kit(names[node.op]), (left.text, right.text), "Map")
    if node.op not in _ARITHMETIC:
        raise scope.error(node, f"{node.op} has no translation")
    strength = _ARITHMETIC[node.op]
    if node.op in {"<<", ">>"}:
        right = cast(right, "int")
    if left.kind == "String" and right.kind == "long" and node.op == "*":
        return call(scope.use_kit("times"), (left.text, right.text), "String")
    kind = (
        "String"
        if "String" in {left.kind, right.kind}
        else "long"
        if "double" not in {left.kind, right.kind}
        else "double"
    )
    if kind == "long":
        left, right = (c if c.kind != "def" else cast(c, "long") for c in (left, right))
    # The same strength again only where it is the left operand's.
    inner = strength if strength != BITS else PRIMARY
    return Code(
        f"{wrap(left, inner)} {node.op} {wrap(right, inner + 1 if inner < PRIMARY else PRIMARY)}", strength, kind
    )


def _and_or(scope: Scope, node: Any) -> Code:
    kind = kind_of(scope, node)
    if kind == "boolean":
        return condition(scope, node)
    left = first = expression(scope, node.left)
    if not is_simple(node.left):
        name = scope.temporary(left.kind)
        first = Code(f"({name} = {left.text})", PRIMARY, left.kind)
        left = Code(name, PRIMARY, left.kind)
    test = _truth(scope, node.left, first, type_of(scope, node.left))
    right = value(scope, node.right, kind)
    chosen = cast(left, kind)
    yes, no = (right, chosen) if node.op == "and" else (chosen, right)
    return _choice(test, yes, no, kind)


def _choice(test: Code, yes: Code, no: Code, kind: str) -> Code:
    if kind == "def":
        # Both sides have to be objects.
        yes, no = (
            c if c.kind in {"def", "null"} else Code(f"(def) {wrap(boxed(c), UNARY)}", UNARY, "def") for c in (yes, no)
        )
    if kind in {"List", "Map"}:
        # A new one is an ArrayList or a HashMap to Painless, and of two types it makes an object.
        yes, no = (
            Code(f"({kind}) ({c.text})", UNARY, kind) if c.text.startswith(("[", "new ")) else c for c in (yes, no)
        )
    return Code(f"{wrap(test, CHOICE + 1)} ? {wrap(yes, CHOICE + 1)} : {wrap(no, CHOICE)}", CHOICE, kind)


def _conditional(scope: Scope, node: Any, kind: str | None = None) -> Code:
    kind = kind or kind_of(scope, node)
    return _choice(
        condition(scope, node.cond), value(scope, node.if_expr, kind), value(scope, node.else_expr, kind), kind
    )


def _unary(scope: Scope, node: Any) -> Code:
    if node.op == "not":
        return negated(condition(scope, node.expr))
    inner = expression(scope, node.expr)
    return Code(f"{node.op}{wrap(inner, UNARY if inner.strength == PRIMARY else PRIMARY)}", UNARY, inner.kind)


def negated(test: Code) -> Code:
    """Return the opposite of a condition."""
    for one, other in ((" == true", " != true"), (" != null", " == null"), (" == null", " != null")):
        if test.strength == SAME and test.text.endswith(one):
            return Code(test.text[: -len(one)] + other, SAME, "boolean")
    if test.strength == UNARY and test.text.startswith("!"):
        return Code(test.text[1:], PRIMARY, "boolean")
    return Code(f"!{wrap(test, PRIMARY)}", UNARY, "boolean")


def condition(scope: Scope, node: Any) -> Code:
    """Return whether an expression holds."""
    name = type(node).__name__
    if name == "OpExpr" and node.op in {"and", "or"}:
        strength = AND if node.op == "and" else OR
        left, right = condition(scope, node.left), condition(scope, node.right)
        sign = "&&" if node.op == "and" else "||"
        return Code(f"{wrap(left, strength)} {sign} {wrap(right, strength)}", strength, "boolean")
    if name == "UnaryExpr" and node.op == "not":
        return negated(condition(scope, node.expr))
    if name == "CallExpr":
        from allocfail.painless.calls import pattern_call  # noqa: PLC0415 - the two call each other

        tested = pattern_call(scope, node, tested=True)
        if tested is not None:
            return tested
    return _truth(scope, node, expression(scope, node), type_of(scope, node))


def _truth(scope: Scope, node: Any, code: Code, kind: Any) -> Code:
    """Return whether a value of this type is true."""
    if code.kind == "boolean":
        return code
    found = types.without_none(kind)
    inner = types.painless(found)
    there = f"{wrap(code, SAME)} != null"
    optional = types.is_optional(kind)
    plain = scope.sources.record_of(found) is not None
    if inner == "boolean":
        return Code(f"{wrap(code, SAME)} == true", SAME, "boolean")
    if inner == "long":
        number = f"{wrap(code, SAME)} != 0L"
        return Code(f"{there} && {number}", AND, "boolean") if optional else Code(number, SAME, "boolean")
    if inner in {"String", "List", "Map"} and not plain and not str(found).startswith("re.Match"):
        if optional and code.strength < PRIMARY:
            return call(scope.use_kit("is_full"), (code.text,), "boolean")
        full = f"!{wrap(code, PRIMARY)}.isEmpty()"
        if not optional:
            return Code(full, UNARY, "boolean")
        if not is_simple(node):
            return call(scope.use_kit("is_full"), (code.text,), "boolean")
        return Code(f"{there} && {full}", AND, "boolean")
    if inner == "def":
        return call(scope.use_kit("is_true"), (code.text,), "boolean")
    return Code(there, SAME, "boolean")


def _comparison(scope: Scope, node: Any) -> Code:
    parts: list[Code] = []
    for number, operator in enumerate(node.operators):
        left, right = node.operands[number], node.operands[number + 1]
        if number and not is_simple(left):
            raise scope.error(node, "a chained comparison: give what stands in the middle a name")
        parts.append(_compare(scope, node, operator, left, right))
    if len(parts) == 1:
        return parts[0]
    return Code(" && ".join(wrap(part, AND + 1) for part in parts), AND, "boolean")


def _compare(scope: Scope, node: Any, operator: str, left: Any, right: Any) -> Code:
    if operator in {"in", "not in"}:
        found = _contains(scope, node, left, right)
        return found if operator == "in" else negated(found)
    if operator in {"is", "is not"}:
        sign = "==" if operator == "is" else "!="
        if _is_none(right):
            return Code(f"{wrap(expression(scope, left), SAME)} {sign} null", SAME, "boolean")
        a, b = expression(scope, left), expression(scope, right)
        if "boolean" in {a.kind, b.kind}:
            return Code(f"{wrap(a, SAME + 1)} {sign} {wrap(b, SAME + 1)}", SAME, "boolean")
        return Code(f"{wrap(a, SAME)} {sign}= {wrap(b, SAME + 1)}", SAME, "boolean")
    compared = _characters(scope, operator, left, right)
    if compared is not None:
        return compared
    a, b = expression(scope, left), expression(scope, right)
    strength = _COMPARE[operator]
    if strength == SAME and a.kind == b.kind == "List":
        same = call(scope.use_kit("same_items"), (a.text, b.text), "boolean")
        return same if operator == "==" else negated(same)
    if strength == LESS and "String" in {a.kind, b.kind}:
        return Code(f"{wrap(a, PRIMARY)}.compareTo({b.text}) {operator} 0", LESS, "boolean")
    if strength == LESS and "List" in {a.kind, b.kind}:
        return Code(
            f"{call(scope.use_kit('compare_lists'), (a.text, b.text), 'int').text} {operator} 0", LESS, "boolean"
        )
    if strength == LESS:
        a, b = (c if c.kind != "def" else cast(c, "long") for c in (a, b))
    return Code(f"{wrap(a, strength + (strength == LESS))} {operator} {wrap(b, strength + 1)}", strength, "boolean")


def _is_none(node: Any) -> bool:
    return type(node).__name__ == "NameExpr" and node.fullname == "builtins.None"


def _characters(scope: Scope, operator: str, left: Any, right: Any) -> Code | None:
    """Compare one character of a text without making a text of it; None where that is not what is compared."""
    a, b = _character(scope, left), _character(scope, right)
    if a is None or b is None or (type(left).__name__ == "StrExpr" and type(right).__name__ == "StrExpr"):
        return None
    return Code(f"{a} {operator} {b}", _COMPARE[operator], "boolean")


def _character(scope: Scope, node: Any) -> str | None:
    name = type(node).__name__
    if name == "StrExpr" and len(node.value) == 1 and ord(node.value) <= 0xFFFF:
        return f"(char) {ord(node.value)}"
    if name != "IndexExpr" or kind_of(scope, node.base) != "String" or type(node.index).__name__ == "SliceExpr":
        return None
    if type(node.index).__name__ == "UnaryExpr":
        return None
    base = expression(scope, node.base)
    return f"{wrap(base, PRIMARY)}.charAt({cast(expression(scope, node.index), 'int').text})"


def _contains(scope: Scope, node: Any, left: Any, right: Any) -> Code:
    if type(right).__name__ in {"TupleExpr", "SetExpr", "ListExpr"} and right.items:
        if is_simple(left):
            parts = [_compare(scope, node, "is" if _is_none(item) else "==", left, item) for item in right.items]
            return Code(" || ".join(wrap(part, OR + 1) for part in parts), OR if len(parts) > 1 else SAME, "boolean")
        items = ", ".join(boxed(expression(scope, item)).text for item in right.items)
        return call(f"[{items}].contains", (boxed(expression(scope, left)).text,), "boolean")
    there = expression(scope, right)
    member = boxed(expression(scope, left))
    if there.kind == "def":
        raise scope.error(node, "in a value of no certain type: narrow it by isinstance")
    if there.kind == "List" and _by_identity(scope, right):
        return call(scope.use_kit("has_same"), (there.text, member.text), "boolean")
    method = "containsKey" if there.kind == "Map" else "contains"
    return call(f"{wrap(there, PRIMARY)}.{method}", (member.text,), "boolean")


def _by_identity(scope: Scope, node: Any) -> bool:
    record = scope.sources.record_of(types.item_type(type_of(scope, node)))
    return record is not None and record.by_identity


# -- parts of things ---------------------------------------------------------------------------------------------------


def _index(scope: Scope, node: Any) -> Code:
    base = expression(scope, node.base)
    kind = kind_of(scope, node)
    kind = "def" if kind == "null" else kind
    inner = type(node.index).__name__
    if inner == "SliceExpr":
        return _slice(scope, node, base)
    owner = types.without_none(type_of(scope, node.base))
    if str(owner).startswith("re.Match"):
        return call(scope.use_kit("rx_text"), (base.text, boxed(expression(scope, node.index)).text), "String")
    if isinstance(owner, TupleType) and scope.sources.record_of(owner) is not None:
        raise scope.error(node, "a named tuple by number: name the field")
    index = expression(scope, node.index)
    if base.kind == "Map":
        return cast(Code(f"{wrap(base, PRIMARY)}.get({boxed(index).text})", PRIMARY, "def"), kind)
    negative = inner == "UnaryExpr"
    if base.kind == "String":
        return call(scope.use_kit("char_at"), (base.text, index.text), "String")
    if base.kind == "List":
        if negative:
            return cast(call(scope.use_kit("item_at"), (base.text, index.text), "def"), kind)
        return cast(Code(f"{wrap(base, PRIMARY)}.get({cast(index, 'int').text})", PRIMARY, "def"), kind)
    raise scope.error(node, "an item of a value of no certain type: narrow it by isinstance")


def _slice(scope: Scope, node: Any, base: Code) -> Code:
    part = node.index
    if part.stride is not None:
        raise scope.error(node, "a slice with a step: use reversed() or a loop")
    low = expression(scope, part.begin_index).text if part.begin_index is not None else "0L"
    high = None if part.end_index is None else expression(scope, part.end_index).text
    if base.kind == "String":
        return call(
            scope.use_kit("part" if high else "part_from"), (base.text, low, *([high] if high else [])), "String"
        )
    if base.kind == "List":
        return call(
            scope.use_kit("items" if high else "items_from"), (base.text, low, *([high] if high else [])), "List"
        )
    raise scope.error(node, "a slice of a value of no certain type")


def _list(scope: Scope, node: Any) -> Code:
    if not node.items:
        return Code("new ArrayList()", PRIMARY, "List")
    if not any(type(item).__name__ == "StarExpr" for item in node.items):
        return Code(f"[{', '.join(boxed(expression(scope, item)).text for item in node.items)}]", PRIMARY, "List")
    parts: list[str] = []
    plain: list[str] = []
    for item in node.items:
        if type(item).__name__ == "StarExpr":
            if plain:
                parts.append(f"[{', '.join(plain)}]")
                plain = []
            parts.append(expression(scope, item.expr).text)
        else:
            plain.append(boxed(expression(scope, item)).text)
    if plain:
        parts.append(f"[{', '.join(plain)}]")
    name = scope.use_kit("joined")
    made = parts[0] if len(parts) > 1 else f"new ArrayList({parts[0]})"
    for part in parts[1:]:
        made = f"{name}({made}, {part})"
    return Code(made, PRIMARY, "List")


def _set(scope: Scope, node: Any) -> Code:
    items = ", ".join(f"{_key(boxed(expression(scope, item)))}: true" for item in node.items)
    return Code(f"[{items}]", PRIMARY, "Map")


def _key(code: Code) -> str:
    return code.text if code.text.startswith("'") else f"({code.text})"


def _dict(scope: Scope, node: Any) -> Code:
    if not node.items:
        return Code("new LinkedHashMap()", PRIMARY, "Map")
    if node.items[0][0] is None and all(key is not None for key, _ in node.items[1:]):
        # One that begins with all of another.
        base = expression(scope, node.items[0][1]).text
        if len(node.items) == 1:
            return Code(f"new LinkedHashMap({base})", PRIMARY, "Map")
        return call(scope.use_kit("merged"), (base, _pairs(scope, node.items[1:])), "Map")
    if any(key is None for key, _ in node.items):
        made = ""
        for key, inner in node.items:
            part = expression(scope, inner).text if key is None else _pairs(scope, [(key, inner)])
            made = f"{scope.use_kit('merged')}({made}, {part})" if made else part
        return Code(made, PRIMARY, "Map")
    return Code(_pairs(scope, node.items), PRIMARY, "Map")


def _pairs(scope: Scope, items: Any) -> str:
    pairs = (f"{_key(boxed(expression(scope, k)))}: {boxed(expression(scope, v)).text}" for k, v in items)
    return f"[{', '.join(pairs)}]"


def _assignment(scope: Scope, node: Any) -> Code:
    name = node.target.name
    kind = scope.locals[name]
    return Code(f"({scope.local(name)} = {value(scope, node.value, kind).text})", PRIMARY, kind)


def _call(scope: Scope, node: Any) -> Code:
    from allocfail.painless.calls import call_expression  # noqa: PLC0415 - the two call each other

    return call_expression(scope, node)


def _comprehension(scope: Scope, node: Any) -> Code:
    from allocfail.painless.loops import comprehension  # noqa: PLC0415 - the two call each other

    return comprehension(scope, node)


_MAKERS: dict[str, Callable[[Scope, Any], Code]] = {
    "AssignmentExpr": _assignment,
    "CallExpr": _call,
    "ComparisonExpr": _comparison,
    "ConditionalExpr": _conditional,
    "DictExpr": _dict,
    "DictionaryComprehension": _comprehension,
    "IndexExpr": _index,
    "IntExpr": _int,
    "ListComprehension": _comprehension,
    "ListExpr": _list,
    "MemberExpr": _member,
    "NameExpr": _name,
    "OpExpr": _operator,
    "SetComprehension": _comprehension,
    "SetExpr": _set,
    "StrExpr": _str,
    "TupleExpr": _list,
    "UnaryExpr": _unary,
}
