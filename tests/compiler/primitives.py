"""What the compiler gives to the kit, a function each: compiled, and compared with Python on a real engine.

A parameter's name says which values it is tried with (``VALUES`` in ``test_kit.py``); every combination is.
"""

from __future__ import annotations

from typing import Any

from allocfail.decoder.kit import (
    bytes_text,
    json_of,
    number_text,
    sha256,
    utc_seconds,
    utf8_length,
    width,
    without_surrogates,
)

KEYS = frozenset({"a", "b", "é"})


def part(text: str, low: int, high: int) -> str:
    return text[low:high]


def part_from(text: str, low: int) -> str:
    return text[low:]


def first_and_last(full: str) -> list[str]:
    return [full[0], full[-1]]


def characters(wide: str) -> list[str]:
    return list(wide)


def affixes(text: str, word: str) -> list[bool]:
    return [text.startswith(word), text.endswith(word), text.startswith((word, "é")), text.endswith((word, "c"))]


def starts_at(text: str, word: str, at: int) -> list[bool]:
    return [text.startswith(word, at), text.startswith((word, "b"), at)]


def find(text: str, mark: str) -> list[int]:
    return [text.find(mark), text.rfind(mark)]


def find_from(text: str, mark: str, at: int) -> int:
    return text.find(mark, at)


def find_within(text: str, mark: str, low: int, high: int) -> list[int]:
    return [text.find(mark, low, high), text.rfind(mark, low, high)]


def strips(wide: str, chars: str) -> list[str]:
    return [wide.strip(chars), wide.lstrip(chars), wide.rstrip(chars)]


def without(wide: str, word: str) -> list[str]:
    return [wide.removeprefix(word), wide.removesuffix(word)]


def splits(wide: str, mark: str) -> list[list[str]]:
    return [wide.split(mark), list(wide.partition(mark)), list(wide.rpartition(mark))]


def splits_most(wide: str, mark: str, most: int) -> list[str]:
    return wide.split(mark, most)


def replaced(wide: str, mark: str, word: str) -> str:
    return wide.replace(mark, word)


def counted(wide: str, mark: str) -> int:
    return wide.count(mark)


def repeated(word: str, at: int) -> str:
    return word * at


def filled(text: str, at: int) -> list[str]:
    return [text.ljust(at, "."), text.rjust(at, ".")]


def ascii_digits(wide: str) -> bool:
    return wide.isascii() and wide.isdigit()


def cases(text: str) -> list[str]:
    return [text.lower(), text.upper()]


def joined(word: str, wide: str) -> str:
    return word.join([wide, "", word])


def order(wide: str, word: str) -> list[bool]:
    return [wide < word, wide <= word, wide == word, word in wide]


def items(numbers: list[int], low: int, high: int) -> list[list[int]]:
    return [numbers[low:high], numbers[low:], [*numbers, low]]


def without_items(numbers: list[int], low: int, high: int) -> list[int]:
    out = list(numbers)
    del out[low:high]
    return out


def summed(numbers: list[int]) -> list[int]:
    return [sum(numbers), min(numbers, default=0), max(numbers, default=0), len(numbers)]


def ordered(numbers: list[int]) -> list[list[int]]:
    return [sorted(numbers), list(reversed(numbers)), numbers + numbers]


def among(numbers: list[int], big: int) -> list[bool]:
    return [big in list(numbers), numbers == [big], numbers == [0 + n for n in numbers]]


def divided(big: int, by: int) -> list[int]:
    return [big // by, big % by]


def compared(big: int, other: int) -> list[bool]:
    return [big < other, big == other, big >= other]


def extremes(big: int, other: int) -> list[int]:
    return [min(big, other), max(big, other)]


def written(big: int) -> list[str]:
    return [str(big), f"{big}", f"{big:03d}", f"{big:08d}"]


def in_hex(natural: int) -> list[str]:
    return [f"{natural:x}", f"{natural:#x}"]


def bits(natural: int, most: int) -> list[int]:
    return [natural & 0xFFFFFFFF, natural | 1, natural ^ 5, natural >> most, (natural & 0xFFFF) << most]


def read(digits: str) -> int:
    return int(digits)


def read_hex(hexes: str) -> int:
    return int(hexes, 16)


def lengths(wide: str) -> list[int]:
    return [width(wide), utf8_length(wide)]


def lengths_of_halves(lone: str) -> int:
    return utf8_length(lone)


def whole(halves: str, word: str) -> str:
    return without_surrogates(halves, word)


def hashed(wide: str) -> str:
    return sha256(wide)


def text_of_bytes(octets: list[Any]) -> str | None:
    return bytes_text(octets)


def seconds(local: int, zone: str) -> int:
    return utc_seconds(local, zone)


def shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return f"'{without_surrogates(value, '?')}'"
    if isinstance(value, list):
        return "[" + ",".join([shown(inner) for inner in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{key}:{shown(value[key])}" for key in sorted(KEYS) if key in value]) + "}"
    return number_text(value) or ""


def from_json(json: str) -> str:
    return shown(json_of(json, KEYS))
