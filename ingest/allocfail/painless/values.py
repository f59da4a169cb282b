"""What a module holds before anything is decoded (constants, tables made from the facts), as ``params``."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any

from allocfail.painless.regex import compile_pattern

__all__ = ["INLINE", "UnsupportedValueError", "as_param", "is_pattern", "value_of"]

#: A text of at most this many characters stands in the source itself.
INLINE = 120


class UnsupportedValueError(Exception):
    """A constant that JSON cannot hold."""


def value_of(fullname: str) -> Any:
    """Return a module's variable, or what a function without parameters returns; AttributeError where there is none."""
    module, _, name = fullname.rpartition(".")
    return getattr(importlib.import_module(module), name)


def is_pattern(value: Any) -> bool:
    """Whether a value is a regular expression, or its bound ``match``, ``search`` or ``fullmatch``."""
    return isinstance(value, re.Pattern) or isinstance(getattr(value, "__self__", None), re.Pattern)


def as_param(value: Any) -> Any:
    """Return a value as JSON: sets as maps, patterns as programs, records as lists of their fields.

    Raises :class:`UnsupportedValueError`.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if is_pattern(value):
        pattern = value if isinstance(value, re.Pattern) else value.__self__
        mode = "search" if isinstance(value, re.Pattern) else value.__name__
        return compile_pattern(pattern, mode if mode in {"match", "fullmatch"} else "search")
    if isinstance(value, (set, frozenset)):
        return {_key(member): True for member in sorted(value)}
    if isinstance(value, dict):
        return {_key(key): as_param(inner) for key, inner in value.items()}
    fields = getattr(value, "_fields", None)
    if fields is None and dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
    if fields is not None:
        return [as_param(getattr(value, name)) for name in fields]
    if isinstance(value, (list, tuple)):
        return [as_param(inner) for inner in value]
    raise UnsupportedValueError(f"a {type(value).__name__} is nothing that JSON holds")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise UnsupportedValueError(f"a key that is no text: {key!r}")
    return key
