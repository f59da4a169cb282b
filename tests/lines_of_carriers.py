"""Whole dumps as each shipper would have indexed them line by line, made of the two lines that are known of each.

``../shared/carriers.ndjson`` holds, for every carrier, the document of a dump's first line and that of its ninth. The
seven between and those behind are made of what differs between the two.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

CARRIERS = Path(__file__).parents[2] / "shared" / "carriers.ndjson"
#: The ninth line of the dump is the one that is known beside the first.
NINTH = 8

_NUMBERS = re.compile(r"([0-9]+)")
_CURSOR = re.compile(r"(?<=[;=])i=([0-9a-f]+)")


def load() -> dict[str, dict[str, Any]]:
    """Return ``{carrier: {part: document}}``."""
    found: dict[str, dict[str, Any]] = {}
    for line in CARRIERS.read_text().splitlines():
        row = json.loads(line)
        found.setdefault(row["carrier"], {})[row["part"]] = row["document"]
    return found


def texts() -> list[str]:
    """Return the lines of the dump, without prefixes; the block of Mem-Info that one record holds is one."""
    message: str = load()["filebeat-journald"]["whole"]["message"]
    lines = message.split("\n")
    at = lines.index("active_anon:1021 inactive_anon:40960 isolated_anon:0")
    return [*lines[:at], "\n".join(lines[at : at + 3]), *lines[at + 3 :]]


def dump_of(parts: dict[str, Any], lines: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the documents of a whole dump; a record of three lines is three documents where a carrier has lines."""
    first, ninth = parts["header"], parts["frame"]
    lines = lines or texts()
    by_record = "\n" in json.dumps(first) or _text_alone(first, lines[0])
    if not by_record:
        lines = [line for record in lines for line in record.split("\n")]
    return [_between(first, ninth, lines, number) for number in range(len(lines))]


def _text_alone(document: Any, header: str) -> bool:
    if isinstance(document, dict):
        return any(_text_alone(value, header) for value in document.values())
    return isinstance(document, str) and document == header


def _between(first: Any, ninth: Any, lines: list[str], number: int) -> Any:
    if isinstance(first, dict):
        return {key: _between(value, ninth[key], lines, number) for key, value in first.items() if key in ninth}
    if isinstance(first, list):
        return [_between(a, b, lines, number) for a, b in zip(first, ninth, strict=True)]
    if first == ninth or isinstance(first, bool):
        return first
    if isinstance(first, int):
        return first + round((ninth - first) * number / NINTH)
    if isinstance(first, float):
        return first
    if first.startswith("{"):
        return json.dumps(_between(json.loads(first), json.loads(ninth), lines, number))
    if first.startswith("01KJV"):  # a ULID: what counts is that it grows
        return f"{first[:13]}{number:05d}{first[18:]}"
    if _CURSOR.search(first):
        start = int(_CURSOR.search(first)[1], 16)  # type: ignore[index]
        return _CURSOR.sub(f"i={start + number:x}", first)
    return _string(first, ninth, lines, number)


def _string(first: str, ninth: str, lines: list[str], number: int) -> str:
    """Put a line into what stands around the header, and the numbers between those of the two."""
    header, frame, line = lines[0], lines[NINTH], lines[number]
    mark = "\x00"
    had = header.strip() if header not in first else header
    has = frame.strip() if frame not in ninth else frame
    before, after = first.replace(had, mark), ninth.replace(has, mark)
    made = []
    for a, b in zip(_NUMBERS.split(before), _NUMBERS.split(after), strict=True):
        if a.isdigit() and a != b:
            a = str(int(a) + round((int(b) - int(a)) * number / NINTH)).rjust(len(a), "0")  # noqa: PLW2901
        made.append(a)
    text = line if had == header else line.strip()
    if "\\x0a" in first or "sequence" in first:
        text = text.replace("\n", "\\x0a")
    return "".join(made).replace(mark, text)
