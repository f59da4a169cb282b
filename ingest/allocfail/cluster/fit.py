"""Whether an index takes the fields that an event gets, told from its mapping before any event comes.

An index whose mapping an event contradicts refuses the document as a whole: ordinary lines would pass, and exactly the
failures would be lost.
"""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Misfit", "Shape", "lacking", "misfits"]

#: What ``index.mapping.total_fields.limit`` is where nobody has set it, on both products.
_LIMIT = 1000
#: Lucene's longest term in bytes; a keyword that is not cut off refuses a document with a longer one.
_TERM = 32_766
#: Fields whose length the log decides.
_UNBOUNDED = frozenset({"error.stack_trace", "event.original"})
_WHOLE = {"byte": 7, "short": 15, "integer": 31, "long": 63, "unsigned_long": 64}
_DECIMALS = frozenset({"double", "float", "half_float", "scaled_float"})
#: Objects of any shape, each in its product's word.
_ANY_OBJECT = frozenset({"flattened", "flat_object"})


class Misfit(NamedTuple):
    """One field by which an event would be refused."""

    field: str
    """Dotted; empty where it is the number of fields."""
    reason: str
    """What is in the way, as the end of a sentence that begins with the field."""
    remedy: str
    """What its owner can do."""

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.field} {self.reason}".strip()


@dataclass(frozen=True)
class Shape:
    """What of an index decides which documents it takes."""

    mapping: Mapping[str, Any]
    """``dynamic``, ``properties``, as the index or a template gives them."""
    limit: int = _LIMIT
    lenient: bool = False
    """``index.mapping.ignore_malformed``."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Shape:
        """Return the shape of an index or template: its ``mappings`` and nested ``settings``."""
        inner = ((body.get("settings") or {}).get("index") or {}).get("mapping") or {}
        limit = (inner.get("total_fields") or {}).get("limit", _LIMIT)
        return cls(body.get("mappings") or {}, int(limit), str(inner.get("ignore_malformed")) == "true")

    def with_fields(self, fields: Mapping[str, Any]) -> Shape:
        """Return the shape with the properties ``fields`` where there are none yet."""
        mapping = {**self.mapping, "properties": copy.deepcopy(dict(self.mapping.get("properties") or {}))}
        _fill(mapping["properties"], lacking(mapping["properties"], fields))
        return Shape(mapping, self.limit, self.lenient)

    def takes(self, fields: Mapping[str, Any]) -> bool:
        """Whether the properties ``fields`` can be composed in: none contradicts, and the limit holds them all."""
        have = self.mapping.get("properties") or {}
        after = _count(self.with_fields(fields).mapping["properties"])
        return "subobjects" not in self.mapping and after <= self.limit and _agree(have, fields)

    @property
    def strict(self) -> bool:
        """Whether a document with a field that nobody has mapped is refused."""
        return str(self.mapping.get("dynamic")).startswith("strict")


def _fill(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for name, spec in fields.items():
        if name in into:
            _fill(into[name].setdefault("properties", {}), spec.get("properties") or {})
        else:
            into[name] = copy.deepcopy(dict(spec))


def lacking(have: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the properties ``fields`` that ``have`` does not map, and that do not contradict it.

    How a field is mapped that is there does not matter, and nothing is put below one that is no object.
    """
    out: dict[str, Any] = {}
    for name, wanted in fields.items():
        there = have.get(name)
        if there is None:
            out[name] = wanted
        elif "properties" in wanted and _is_object(there) and there.get("enabled", True) is not False:
            inner = lacking(there.get("properties") or {}, wanted["properties"])
            if inner:
                out[name] = {"properties": inner}
    return out


def _agree(have: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether no name is an object in one and a value in the other."""
    for name in have.keys() & fields.keys():
        objects = [_is_object(side[name]) for side in (have, fields)]
        if objects[0] != objects[1]:
            return False
        if objects[0] and not _agree(have[name].get("properties") or {}, fields[name].get("properties") or {}):
            return False
    return True


def _is_object(spec: Mapping[str, Any]) -> bool:
    return "properties" in spec or spec.get("type", "object") in {"object", "nested"}


def misfits(events: Iterable[Mapping[str, Any]], shape: Shape) -> list[Misfit]:
    """Return by what fields an index of this shape would refuse the events, each field once; empty where by none."""
    check = _Check(shape)
    found: dict[str, Misfit] = {}
    for event in events:
        for misfit in check.inside(event, shape.mapping, "", str(shape.mapping.get("dynamic", "true")).lower()):
            found.setdefault(misfit.field, misfit)
    needed = _count(shape.mapping.get("properties") or {}) + len(check.added)
    if not found and needed > shape.limit:
        found[""] = Misfit(
            "",
            f"an event's fields make {needed}, and index.mapping.total_fields.limit is {shape.limit}",
            f"raise the limit to {needed + needed // 10}",
        )
    return list(found.values())


def _count(properties: Mapping[str, Any]) -> int:
    """Return how many fields a mapping has as the engines count: objects and multi-fields too."""
    return sum(
        1 + _count(spec.get("properties") or {}) + _count(spec.get("fields") or {}) for spec in properties.values()
    )


class _Check:
    """Goes through events beside a mapping."""

    def __init__(self, shape: Shape) -> None:
        self.added: set[str] = set()
        """The fields that dynamic mapping would add."""
        self._lenient = shape.lenient

    def inside(self, value: Mapping[str, Any], spec: Mapping[str, Any], above: str, dynamic: str) -> Iterator[Misfit]:
        """Yield what in an object contradicts its mapping; ``dynamic`` is what it inherits."""
        properties = spec.get("properties") or {}
        dynamic = str(spec.get("dynamic", dynamic)).lower()
        if spec.get("subobjects") in {False, "false"}:  # its properties have dotted names
            value = dict(_leaves(value, ""))
        for name, inner in value.items():
            here = f"{above}.{name}" if above else name
            if name in properties:
                yield from self._field(inner, properties[name], here, dynamic)
            elif dynamic.startswith("strict"):
                yield Misfit(here, "is not mapped, and the index is strict", f"map {here}")
            elif dynamic == "true":
                self.added.update(_dynamic(here, inner))

    def _field(self, value: Any, spec: Mapping[str, Any], here: str, dynamic: str) -> Iterator[Misfit]:
        kind = str(spec.get("type", "object"))
        for one in value if isinstance(value, list) else [value]:
            if one is None or spec.get("enabled", True) is False:
                continue
            if isinstance(one, dict):
                if _is_object(spec):
                    yield from self.inside(one, spec, here, dynamic)
                elif kind not in _ANY_OBJECT:
                    reason = f"is mapped as {kind}, and an event has an object there"
                    yield Misfit(here, reason, f"map {here} as an object")
            elif _is_object(spec) or kind in _ANY_OBJECT:
                yield Misfit(here, "is mapped as an object, and an event has a value there", f"map {here} as keyword")
            elif reason := _refused(one, spec, kind, here, lenient=self._lenient):
                yield Misfit(here, reason, _remedy(one, kind, here))


def _leaves(value: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner


def _dynamic(name: str, value: Any) -> Iterator[str]:
    """Yield the fields that dynamic mapping makes of a value: objects too, and a text's keyword."""
    value = value[0] if isinstance(value, list) and value else value
    yield name
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _dynamic(f"{name}.{key}", inner)
    elif isinstance(value, str):
        yield f"{name}.keyword"


def _remedy(value: Any, kind: str, here: str) -> str:
    if kind == "keyword":
        return f"give {here} an ignore_above of 8191"
    return f"map {here} as {'boolean' if isinstance(value, bool) else 'long' if isinstance(value, int) else 'keyword'}"


def _refused(value: Any, spec: Mapping[str, Any], kind: str, here: str, *, lenient: bool) -> str:  # noqa: PLR0911 - a return for each reason
    """Return why a field of this mapping refuses a value that is no object; empty where it takes it."""
    if kind == "alias":
        return "is an alias, which takes no value"
    if kind == "constant_keyword" and spec.get("value") != value:
        return (
            f"is a constant_keyword of {spec.get('value', 'the first value that comes')!r}, and an event has {value!r}"
        )
    if kind == "keyword" and here in _UNBOUNDED and _uncut(spec):
        return f"is a keyword without ignore_above, and an event may have more than the {_TERM} bytes that it takes"
    if str(spec.get("ignore_malformed", lenient)).lower() == "true":
        return ""
    if kind in _WHOLE and not _whole(value, _WHOLE[kind]):
        return f"is mapped as {kind}, and an event has {_short(value)}"
    if kind in _DECIMALS and not _number(value):
        return f"is mapped as {kind}, and an event has {_short(value)}"
    if kind == "boolean" and str(value).lower() not in {"true", "false", ""}:
        return f"is mapped as boolean, and an event has {_short(value)}"
    if kind == "ip" and not _address(value):
        return f"is mapped as ip, and an event has {_short(value)}"
    if kind in {"date", "date_nanos"} and not _date(value):
        return f"is mapped as {kind}, and an event has {_short(value)}"
    return ""


def _uncut(spec: Mapping[str, Any]) -> bool:
    stored = spec.get("index", True) is not False or spec.get("doc_values", True) is not False
    return stored and "ignore_above" not in spec


def _short(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _whole(value: Any, bits: int) -> bool:
    low = 0 if bits == 64 else -(1 << bits)
    return _number(value) and low <= float(value) < float(1 << bits)


def _address(value: Any) -> bool:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def _date(value: Any) -> bool:
    """Whether a value may be a date: a number, or a text that begins with four digits of a year."""
    return _number(value) or (isinstance(value, str) and len(value) > 4 and value[:4].isdigit() and value[4] == "-")
