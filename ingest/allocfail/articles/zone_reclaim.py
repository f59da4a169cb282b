"""``vm.zone_reclaim_mode`` taken apart: which bits a value has, and what each does on a kernel release."""

from __future__ import annotations

import re
from typing import Any

from allocfail import facts
from allocfail.errors import InputError, NotFoundError

__all__ = ["explain", "explain_all", "parse_release", "parse_value", "unknown"]

_VALUE = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_RELEASE = re.compile(
    r"(?:Linux )?v?([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,4})(?:\.[0-9]{1,4})?)?(?![0-9.])[\x21-\x7e]{0,200}", re.ASCII
)
_MOST = 2**31 - 1  # the sysctl is an int: kernel/sysctl.c, 6.12.117

Version = tuple[int, int, int]


def parse_value(text: str) -> int:
    """Return the value that ``text`` writes in decimal; raises :class:`InputError` for anything else."""
    if not _VALUE.fullmatch(text) or int(text) > _MOST:
        raise InputError(f"not a value of vm.zone_reclaim_mode (a decimal number from 0): {text[:40]!r}")
    return int(text)


def parse_release(text: str) -> Version:
    """Return (version, patchlevel, sublevel) of a release such as ``5.10.0-8-amd64``; a missing part is 0.

    Raises :class:`InputError` for what does not begin like a kernel release.
    """
    match = _RELEASE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"not a kernel release: {text[:60]!r}")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def _bound(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _within(version: Version, entry: dict[str, Any]) -> bool:
    """Whether a release lies in an entry's range; a last release of two numbers includes all its stable levels."""
    if "from" in entry and version < _bound(entry["from"]):
        return False
    last = _bound(entry["to"]) if "to" in entry else None
    return last is None or version[: len(last)] <= last


def _range(first: dict[str, Any], last: dict[str, Any]) -> str:
    """Return the releases from one era to another as a person writes them."""
    if "to" not in last:
        return f"{first['from']} and later"
    text = str(first["from"]) if first["from"] == last["to"] else f"{first['from']} to {last['to']}"
    fixed = [f"{series}.{level}" for series, level in last.get("repaired", {}).items()]
    return text + (f" (until {' and '.join(fixed)} in these stable series)" if fixed else "")


def _reading(value: int, era: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return what ``value`` does in one era."""
    effects, notes = data["bit_effects"], data["notes"]
    # JSON, which the facts are compiled to, has only strings as keys.
    known = {int(bit): effect for bit, effect in era["bits"].items()}
    bits = []
    other = value
    for bit, effect in sorted(known.items()):
        if value & bit:
            bits.append({"value": bit, **effects[effect]})
            other &= ~bit
    enabled = value != 0 if era["enabled_by"] == "any" else value != other
    reading: dict[str, Any] = {"releases": _range(era, era), "enabled": enabled, "bits": bits}
    said = [notes["enabled"] if enabled else notes["disabled"]]
    if enabled and not any(bit["name"] == effects["zone"]["name"] for bit in bits):
        said.append(notes["implied"])
    if other:
        reading["unknown_bits"] = [1 << at for at in range(other.bit_length()) if other >> at & 1]
        only = ", ".join(str(bit) for bit in reading["unknown_bits"])
        said.append(f"{only}: {notes['unknown_enabled' if era['enabled_by'] == 'any' else 'unknown_idle']}")
    if enabled and "note" in era:
        said.append(era["note"])
    reading["notes"] = said
    return reading


def _default(version: Version, release: str, data: dict[str, Any]) -> str | None:
    for entry in data["defaults"]:
        if "vendor" in entry:
            if entry["vendor"] in release:
                return str(entry["text"])
        elif _within(version, entry):
            return str(entry["text"])
    return None


def explain(value: int, release: str) -> dict[str, Any]:
    """Return what ``value`` does on the kernel ``release``, as a JSON document.

    ``releases`` says where the reading holds, ``enabled`` whether zone reclaim is on, ``bits`` has an entry a bit with
    its ``value``, ``name``, what it ``does`` and ``costs``, ``unknown_bits`` the values of bits that kernel does not
    know (absent where there are none), ``default`` what such a kernel comes up with, ``notes`` what else holds. Where a
    distribution's numbering hides which of two readings holds, ``readings`` has both, the older first. Raises
    :class:`InputError` for a release that is none, :class:`NotFoundError` for one older than the setting.
    """
    data = facts.load()["zone_reclaim"]
    version = parse_release(release)
    if version < _bound(data["introduced"]):
        raise NotFoundError(f"{release.strip()} has no vm.zone_reclaim_mode: it came with {data['introduced']}")
    eras = data["eras"]
    at = next(number for number, era in enumerate(eras) if _within(version, era))
    level = eras[at].get("repaired", {}).get(f"{version[0]}.{version[1]}")
    hidden = "repaired" in eras[at] and version[2] == 0 and "-" in release and "-rc" not in release
    document: dict[str, Any] = {"value": value, "kernel": release.strip()}
    if hidden:
        document["readings"] = [_reading(value, era, data) for era in eras[at : at + 2]]
        document["notes"] = [data["notes"]["hidden_level"]]
    elif level is not None and version[2] >= level:
        document.update(_reading(value, eras[at + 1], data))
        document["releases"] = f"{version[0]}.{version[1]}.{level} and later {version[0]}.{version[1]}"
    else:
        document.update(_reading(value, eras[at], data))
    document["notes"] += [entry["note"] for entry in data["vendors"] if entry["vendor"] in release and value]
    document["notes"].append(data["notes"]["atomic"])
    default = _default(version, release, data)
    if default is not None:
        document["default"] = default
    return document


def explain_all(value: int) -> dict[str, Any]:
    """Return every distinct reading of ``value`` with the releases it holds for, oldest first, as a JSON document."""
    data = facts.load()["zone_reclaim"]
    eras = data["eras"]
    found: list[tuple[dict[str, Any], list[int]]] = []  # a reading, and the eras that share it
    for number, era in enumerate(eras):
        reading = _reading(value, era, data)
        del reading["releases"]
        for other, numbers in found:
            if other == reading:
                numbers.append(number)
                break
        else:
            found.append((reading, [number]))
    readings = [{"releases": _ranges(numbers, eras), **reading} for reading, numbers in found]
    return {"value": value, "readings": readings, "notes": [data["notes"]["atomic"]]}


def _ranges(numbers: list[int], eras: list[dict[str, Any]]) -> str:
    """Return the releases of several eras, neighbours joined."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "; ".join(_range(eras[run[0]], eras[run[-1]]) for run in runs)


def unknown(document: dict[str, Any]) -> list[int]:
    """Return the bits that the kernel of ``document`` does not know; of all kernels, those that the newest does not."""
    if "readings" in document:
        data = facts.load()["zone_reclaim"]
        document = _reading(document["value"], data["eras"][-1], data)
    bits: list[int] = document.get("unknown_bits", [])
    return bits
