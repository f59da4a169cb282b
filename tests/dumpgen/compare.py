"""Compare a decoded document with the truth about a generated event."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dumpgen.model import Dump, Event

__all__ = ["differences", "fingerprint_id", "get"]


def get(document: dict[str, Any], path: str) -> Any:
    """Return the value at a dotted path of a nested document, None where there is none."""
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def fingerprint_id(text: str) -> str:
    """Hash a fingerprint's text: ``af1:`` and the first 16 hex digits of its SHA-256."""
    return "af1:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _walk(truth: Any, got: Any, path: str, out: list[str]) -> None:
    if isinstance(truth, dict):
        if not isinstance(got, dict):
            out.append(f"{path}: expected {truth!r}, got {got!r}")
            return
        for key, value in truth.items():
            _walk(value, got.get(key), f"{path}.{key}" if path else key, out)
    elif path.endswith("gfp.name") and isinstance(got, str):
        # The order of names changed between releases.
        if set(truth.split("|")) != set(got.split("|")):
            out.append(f"{path}: expected {truth!r}, got {got!r}")
    elif isinstance(truth, list) and truth and isinstance(truth[0], dict):
        if not isinstance(got, list) or len(got) != len(truth):
            out.append(f"{path}: expected {truth!r}, got {got!r}")
            return
        for number, (left, right) in enumerate(zip(truth, got, strict=True)):
            _walk(left, right, f"{path}[{number}]", out)
    elif truth != got or type(truth) is not type(got):
        out.append(f"{path}: expected {truth!r}, got {got!r}")


def differences(event: Event, document: dict[str, Any], skip: tuple[str, ...] = ()) -> list[str]:
    """Say what of the truth a document does not hold; `skip` names fields that a test does not ask for."""
    out: list[str] = []
    _walk(event.truth, document, "", out)
    out += [
        f"{path}: expected nothing, got {value!r}"
        for path in event.absent
        if (value := get(document, path)) is not None
    ]
    text = get(event.truth, "allocfail.fingerprint.text")
    if text is not None and get(document, "allocfail.fingerprint.id") != fingerprint_id(text):
        out.append(f"allocfail.fingerprint.id: expected {fingerprint_id(text)}")
    if "timestamp" in event.facts:
        out += _time(event, document)
    return [line for line in out if not line.startswith(skip)] if skip else out


def _time(event: Event, document: dict[str, Any]) -> list[str]:
    stamp = document.get("@timestamp")
    expected = dt.datetime.fromisoformat(event.facts["timestamp"])
    if not isinstance(stamp, str):
        return [f"@timestamp: expected {expected.isoformat()}, got {stamp!r}"]
    apart = dt.datetime.fromisoformat(stamp) - expected
    # Some prefixes print whole seconds, and a report's first line may stand before its header.
    return [] if abs(apart.total_seconds()) <= 1 else [f"@timestamp: expected {expected.isoformat()}, got {stamp}"]


def dump_differences(dump: Dump, documents: list[dict[str, Any]], skip: tuple[str, ...] = ()) -> list[str]:
    """Compare all events of a dump with all documents decoded from it."""
    if len(documents) != len(dump.events):
        kinds = [get(document, "allocfail.kind") for document in documents]
        return [f"events: expected {len(dump.events)}, got {len(documents)} {kinds}"]
    return [
        f"#{number} {line}"
        for number, (event, document) in enumerate(zip(dump.events, documents, strict=True))
        for line in differences(event, document, skip)
    ]
