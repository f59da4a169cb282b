"""Whether an index takes the fields that an event gets, told from its mapping before any event comes.

An index whose mapping an event contradicts refuses the document as a whole: ordinary lines would pass, and exactly the
failures would be lost.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Misfit", "Shape", "lacking", "misfits"]

#: What ``index.mapping.total_fields.limit`` and ``depth.limit`` are where nobody has set them, on both products.
_LIMIT, _DEPTH = 1000, 20
#: Lucene's longest term in bytes; a keyword that is not cut off refuses a document with a longer one.
_TERM = 32_766
#: The longest ``ignore_above`` that keeps terms below that: it counts UTF-16 units, each of at most three bytes.
_CUT = _TERM // 3
#: Fields whose length the log decides, or what a failed processor says. No other one outside of ``allocfail.*`` gets
#: more than 4,096 characters from the decoder (``decoder.document.is_short``).
_UNBOUNDED = frozenset({"error.message", "error.stack_trace", "event.original"})
_LONG = "an event may have more"
#: Fields of ``allocfail.*`` that hold words of ours alone, or numbers; every other text there may be of any length.
_OWN = "allocfail."
_BOUNDED = frozenset(
    f"{_OWN}{name}"
    for name in (
        *("kind", "time_source", "time_guessed", "provenance", "taints", "trace.context", "gfp.mask", "gfp.decoded_by"),
        *("fingerprint.id", "fingerprint.version", "fingerprint.level", "fingerprint.header.id", "verdict.cause"),
        *("verdict.severity", "verdict.zone_reclaim_mode", "kb.id", "kb.title", "kb.url", "kb_url"),
    )
)
_WHOLE = {"byte": 7, "short": 15, "integer": 31, "long": 63, "unsigned_long": 64}
_DECIMALS = frozenset({"double", "float", "half_float", "scaled_float"})
#: Objects of any shape, each in its product's word.
_ANY_OBJECT = frozenset({"flattened", "flat_object"})
#: What dynamic templates call a JSON value, and what it becomes where the template names no type.
_JSON = {bool: "boolean", int: "long", float: "double", str: "string", dict: "object"}
_BECOMES = {"boolean": "boolean", "long": "long", "double": "float", "string": "text", "object": "object"}


class Misfit(NamedTuple):
    """One field by which an event would be refused."""

    field: str
    """Dotted; empty where it is the number of fields, or how deep they are."""
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
    depth: int = _DEPTH
    """``index.mapping.depth.limit``."""
    cut: int | None = None
    """The ``ignore_above`` of keywords that have none of their own; None where they take a text of any length."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Shape:
        """Return the shape of an index or template: its ``mappings`` and nested ``settings``."""
        index = (body.get("settings") or {}).get("index") or {}
        inner = index.get("mapping") or {}
        limit = (inner.get("total_fields") or {}).get("limit", _LIMIT)
        depth = (inner.get("depth") or {}).get("limit", _DEPTH)
        # Elasticsearch cuts the keywords of indices that are made for logs.
        cut = inner.get("ignore_above", 8191 if index.get("mode") == "logsdb" else None)
        lenient = str(inner.get("ignore_malformed")) == "true"
        return cls(body.get("mappings") or {}, int(limit), lenient, int(depth), None if cut is None else int(cut))

    def with_fields(self, fields: Mapping[str, Any]) -> Shape:
        """Return the shape with the properties ``fields`` where there are none yet."""
        mapping = {**self.mapping, "properties": copy.deepcopy(dict(self.mapping.get("properties") or {}))}
        _fill(mapping["properties"], lacking(mapping["properties"], fields))
        return replace(self, mapping=mapping)

    def takes(self, fields: Mapping[str, Any]) -> bool:
        """Whether the properties ``fields`` can be composed in: none contradicts, and the limit holds them all."""
        have = self.mapping.get("properties") or {}
        after = _count(self.with_fields(fields).mapping["properties"])
        return "subobjects" not in self.mapping and after <= self.limit and _agree(have, fields)

    @property
    def is_routed(self) -> bool:
        """Whether a document is refused that does not say what it is kept by."""
        return str((self.mapping.get("_routing") or {}).get("required")).lower() == "true"

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
    depth = max([_depth(shape.mapping.get("properties") or {}), *check.depths])
    if not found and depth > shape.depth:
        reason = f"an event's objects are {depth} deep, and index.mapping.depth.limit is {shape.depth}"
        found[""] = Misfit("", reason, f"raise the limit to {depth}")
    if not found and needed > shape.limit:
        found[""] = Misfit(
            "",
            f"an event's fields make {needed}, and index.mapping.total_fields.limit is {shape.limit}",
            f"raise the limit to {needed + needed // 10}",
        )
    return list(found.values())


def _depth(properties: Mapping[str, Any]) -> int:
    """Return how deep objects are as the engines count: one more for each that another one is in, 2 for the first."""
    return max(
        (1 + _depth(spec.get("properties") or {}) for spec in properties.values() if _is_object(spec)), default=1
    )


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
        self.depths: set[int] = set()
        """How deep the objects among them are."""
        self._shape = shape
        self._templates = [one for entry in shape.mapping.get("dynamic_templates") or [] for one in entry.items()]

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
                yield from self._new(inner, here, dynamic)

    def _new(self, value: Any, here: str, dynamic: str) -> Iterator[Misfit]:
        """Yield what refuses a field that dynamic mapping is to add."""
        for one in value if isinstance(value, list) else [value]:
            name, spec = self._templated(one, here)
            self.added.add(here)
            if isinstance(one, dict) and _is_object(spec or {}):
                self.depths.add(here.count(".") + 2)
            if spec is not None:
                self.added.update(f"{here}.{sub}" for sub in spec.get("fields") or {})
                remedy = f"map {here} in the index, or change its dynamic template {name}"
                for found in self._field(one, spec, here, dynamic):
                    # What is in an object may have a template of its own.
                    yield found._replace(remedy=remedy) if found.field == here else found
            elif isinstance(one, dict):
                yield from self.inside(one, {}, here, dynamic)
            elif isinstance(one, str):
                self.added.add(f"{here}.keyword")

    def _templated(self, value: Any, here: str) -> tuple[str, Mapping[str, Any] | None]:
        """Return the first dynamic template that is for a field, and the mapping it makes; None where there is none."""
        kind = _JSON.get(type(value), "")
        for name, template in self._templates if kind else ():
            if _is_for(template, kind, here):
                made = template.get("mapping")
                if made is None:  # a runtime field: nothing of it is indexed
                    return name, {"type": "text"}
                return name, {"type": _BECOMES[kind], **made} if "{" not in str(made.get("type")) else {"type": "text"}
        return "", None

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
                elif self._uncut(spec) and (long := _long_ones(one, here)):
                    yield Misfit(long[0], f"is in a {kind} that takes {_TERM} bytes, and {_LONG}", _cut(kind, here))
            elif _is_object(spec) or kind in _ANY_OBJECT:
                yield Misfit(here, "is mapped as an object, and an event has a value there", f"map {here} as keyword")
            else:
                yield from self._value(one, spec, here, _is_unbounded(one, here))

    def _value(self, value: Any, spec: Mapping[str, Any], here: str, unbounded: bool) -> Iterator[Misfit]:  # noqa: FBT001
        """Yield what a field, what it is mapped as besides, and what it is copied to refuse."""
        kind = str(spec.get("type", "object"))
        if kind == "keyword" and unbounded and self._uncut(spec):
            reason = f"is a keyword without ignore_above, which takes {_TERM} bytes, and {_LONG}"
            yield Misfit(here, reason, _cut(kind, here))
        elif reason := _refused(value, spec, kind, lenient=self._shape.lenient):
            yield Misfit(here, reason, _remedy(value, here))
        for name, inner in (spec.get("fields") or {}).items():
            yield from self._value(value, inner, f"{here}.{name}", unbounded)
        copied = spec.get("copy_to") or []
        for name in [copied] if isinstance(copied, str) else copied:
            target = self._at(name)
            if target is not None:  # what is copied there is not copied on
                yield from self._value(value, {**target, "copy_to": None}, name, unbounded)

    def _at(self, dotted: str) -> Mapping[str, Any] | None:
        spec: Mapping[str, Any] | None = self._shape.mapping
        for part in dotted.split("."):
            spec = ((spec or {}).get("properties") or {}).get(part)
        return spec

    def _uncut(self, spec: Mapping[str, Any]) -> bool:
        """Whether a text of any length becomes one term."""
        stored = spec.get("index", True) is not False or spec.get("doc_values", True) is not False
        cut = spec.get("ignore_above", self._shape.cut)
        return stored and (cut is None or int(cut) > _CUT)


def _is_unbounded(value: Any, here: str) -> bool:
    if here.startswith(_OWN):
        return isinstance(value, str) and here not in _BOUNDED
    return here in _UNBOUNDED


def _long_ones(value: Mapping[str, Any], above: str) -> list[str]:
    """Return the fields in an object whose texts may be of any length."""
    found = []
    for name, inner in value.items():
        here = f"{above}.{name}"
        for one in inner if isinstance(inner, list) else [inner]:
            found += _long_ones(one, here) if isinstance(one, dict) else [here] * _is_unbounded(one, here)
    return found


def _is_for(template: Mapping[str, Any], kind: str, here: str) -> bool:
    """Whether a dynamic template is for a field of this kind."""
    kinds = template.get("match_mapping_type", "*")
    if kind not in kinds and "*" not in kinds if isinstance(kinds, list) else kinds not in {kind, "*"}:
        return False
    name = here.rpartition(".")[2]
    plain = template.get("match_pattern") != "regex"
    return all(
        key not in template or _matches(template[key], text, plain=plain) is wanted
        for key, text, wanted in (
            ("match", name, True),
            ("unmatch", name, False),
            ("path_match", here, True),
            ("path_unmatch", here, False),
        )
    )


def _matches(patterns: Any, text: str, *, plain: bool) -> bool:
    """Whether one of the patterns is that of a text; a regular expression that is Java's alone is that of none."""
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if plain and fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]")):
            return True
        try:
            if not plain and re.fullmatch(pattern, text):
                return True
        except re.error:
            continue
    return False


def _leaves(value: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", inner


def _cut(kind: str, here: str) -> str:
    return f"map {here} as an object" if kind == "flat_object" else f"give {here} an ignore_above of 8191"


def _remedy(value: Any, here: str) -> str:
    return f"map {here} as {'boolean' if isinstance(value, bool) else 'long' if isinstance(value, int) else 'keyword'}"


def _refused(value: Any, spec: Mapping[str, Any], kind: str, *, lenient: bool) -> str:  # noqa: PLR0911 - a return for each reason
    """Return why a field of this mapping refuses a value that is no object; empty where it takes it."""
    if kind == "alias":
        return "is an alias, which takes no value"
    if kind == "constant_keyword" and spec.get("value") != value:
        return (
            f"is a constant_keyword of {spec.get('value', 'the first value that comes')!r}, and an event has {value!r}"
        )
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
