"""Which Painless type holds which Python type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    TupleType,
    TypedDictType,
    UninhabitedType,
    UnionType,
    get_proper_type,
)

if TYPE_CHECKING:
    from mypy.types import ProperType, Type

__all__ = ["is_optional", "item_type", "painless", "without_none"]

_SCALARS = {
    "builtins.str": "String",
    "builtins.int": "long",
    "builtins.bool": "boolean",
    "builtins.float": "double",
    "builtins.object": "def",
    "re.Match": "List",
    "types.NoneType": "def",
}
_LISTS = frozenset(
    {
        "builtins.list",
        "builtins.tuple",
        "typing.Sequence",
        "typing.Iterable",
        "typing.Iterator",
        "typing.Generator",
        "typing.Collection",
        "collections.deque",
        "_collections_abc.dict_values",
        "builtins.reversed",
        "builtins.enumerate",
    }
)
#: A set is a map from its members to true: so it can be handed over in JSON as well.
_MAPS = frozenset(
    {
        "builtins.dict",
        "typing.Mapping",
        "typing.MutableMapping",
        "collections.OrderedDict",
        "builtins.set",
        "builtins.frozenset",
        "typing.AbstractSet",
    }
)


def proper(kind: Type | None) -> ProperType:
    """Return a type without aliases; Any where there is none."""
    found = get_proper_type(kind)
    if found is None:
        return AnyType(1)
    if isinstance(found, LiteralType):
        return found.fallback
    return found


def without_none(kind: Type | None) -> ProperType:
    """Return an optional type without None."""
    found = proper(kind)
    if isinstance(found, UnionType):
        rest = [item for item in map(proper, found.items) if not isinstance(item, (NoneType, AnyType))]
        if len(rest) == 1:
            return rest[0]
        if len(rest) != len(found.items):
            return UnionType(list(rest))
    return found


def is_optional(kind: Type | None) -> bool:
    """Whether None is among the values."""
    found = proper(kind)
    return isinstance(found, NoneType) or (
        isinstance(found, UnionType) and any(isinstance(proper(item), (NoneType, AnyType)) for item in found.items)
    )


def painless(kind: Type | None) -> str:
    """Return the Painless type of a Python type; ``def`` where there are several."""
    found = proper(kind)
    if isinstance(found, UnionType):
        # A group of a match is `str | Any`: it may be missing.
        rest = without_none(found)
        if isinstance(rest, UnionType):
            kinds = {painless(item) for item in rest.items}
            only = kinds.pop() if len(kinds) == 1 else "def"
        else:
            only = painless(rest)
        # A number or a truth value that may be missing has to be an object.
        return "def" if is_optional(found) and only in {"long", "boolean", "double"} else only
    if isinstance(found, (TupleType, TypedDictType)):
        return "Map" if isinstance(found, TypedDictType) else "List"
    if isinstance(found, Instance):
        return _instance(found)
    if isinstance(found, (CallableType, Overloaded)):
        return "List"  # a pattern's match or search
    if isinstance(found, UninhabitedType):
        return "def"
    return "def"


def _instance(found: Instance) -> str:
    name = found.type.fullname
    if name in _SCALARS:
        return _SCALARS[name]
    if name in _LISTS:
        return "List"
    if name == "re.Pattern":
        return "List"
    if name in _MAPS or found.type.typeddict_type is not None:
        return "Map"
    if name.startswith("allocfail."):
        # A record is a list of its fields: engines copy and go through what one script hands to the next.
        return "List"
    for base in found.type.mro:
        if base.fullname in _SCALARS and base.fullname != "builtins.object":
            return _SCALARS[base.fullname]
    return "def"


def item_type(kind: Type | None) -> Type | None:
    """Return the type of a list's (or a set's, or a dict's key's) items."""
    found = without_none(kind)
    if isinstance(found, TupleType):
        if "namedtuple" not in found.partial_fallback.type.metadata and found.items:
            items = list(found.items)
            return items[0] if all(proper(i) == proper(items[0]) for i in items) else UnionType.make_union(items)
        return None
    if isinstance(found, Instance):
        if found.type.fullname == "builtins.str":
            return found
        return found.args[0] if found.args else None
    return None
