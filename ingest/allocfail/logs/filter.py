"""``allocfail enrich`` as a filter: one JSON document a line, enriched or byte for byte as it was."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from allocfail.decoder.enrich import enrich
from allocfail.decoder.steps import dumps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocfail.decoder.options import Options

__all__ = ["enrich_line"]


class _NotCarriedError(ValueError):
    """JSON that Python would write back as something else."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _NotCarriedError("a key stands twice")
    return out


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotCarriedError("a number is too large")
    return value


def _constant(text: str) -> float:
    raise _NotCarriedError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > 4000:
        raise _NotCarriedError("a number is too large")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_float, parse_constant=_constant, parse_int=_integer, strict=True
)


def enrich_line(line: bytes, options: Options | None, complain: Callable[[str], None]) -> bytes:
    """Return one line of a filter's output: the document enriched, or the line byte for byte.

    A line that may hold an event but is no JSON document comes back as it is, and ``complain`` is told why.
    """
    if b"alloc" not in line and b"oom-killer" not in line:
        return line
    body = line.rstrip(b"\r\n")
    document: Any
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        document = error
    if not isinstance(document, dict):
        if dumps_of(body.decode("utf-8", "replace")):
            complain(f"an event, but no JSON document: {document if isinstance(document, Exception) else 'no object'}")
        return line
    try:
        made = enrich(document, options)
    except RecursionError:
        complain("nested too deeply")
        return line
    if made is None:
        return line
    end = line[len(body) :]
    try:
        return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode() + end
    except UnicodeEncodeError:
        return json.dumps(made, separators=(",", ":")).encode() + end
