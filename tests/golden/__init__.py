"""What the decoder makes of some 3,700 fixed logs, as a hash for each of them and each group of fields.

A list a set of logs (``generated.txt`` and so on), a line a log: its name, a hash of the log itself, and one of each of
:data:`GROUPS` over all documents that decoding the log gives and the one that enriching it gives. Sentences are hashed
by what is filled into them; how they are worded stands once, in ``words.txt``. ``make expectations`` writes all of it
anew. What differs is told by field: the commit that wrote the list last is asked for the documents that it made
(:mod:`golden.before`).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.decoder.enrich import enrich
from allocfail.logs.events import Options, decode_bytes
from dumpgen import TANGLES, generate
from dumpgen.mutate import mutate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "FOLDER",
    "GROUPS",
    "SETS",
    "SHARED",
    "Input",
    "documents",
    "inputs",
    "read",
    "rows",
    "without_prose",
    "write",
]

FOLDER = Path(__file__).parent
CASES = FOLDER.parent / "cases"
SAMPLES = FOLDER.parents[1] / "samples"
#: Real logs, which are not part of the project; their hashes are.
SHARED = FOLDER.parents[2] / "shared"
REAL = ("corpus", "corpus-new")
SETS = ("cases", "generated", "damaged", *REAL)
GENERATED, DAMAGED = 1500, 2000

YEAR = 2024
NOW = datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
_MILLIS = int(NOW.timestamp() * 1000)
OPTIONS = Options(year=YEAR, reference=_MILLIS, now=_MILLIS)

#: Groups of fields, each with the objects and fields that are in it; what no other names is in the first.
GROUPS: dict[str, tuple[str, ...]] = {
    "event": (),
    "where": (
        *(
            "@timestamp",
            "host",
            "log",
            "related",
            "allocfail.uptime",
            "allocfail.time_source",
            "allocfail.time_guessed",
        ),
        *("allocfail.provenance", "allocfail.repeated", "allocfail.suppressed", "allocfail.further_events"),
    ),
    "gfp": ("allocfail.gfp",),
    "trace": (
        *("allocfail.trace", "allocfail.site", "allocfail.site_reliable", "allocfail.subsystem", "error.stack_trace"),
    ),
    "memory": ("allocfail.memory",),
    "group": ("allocfail.fingerprint", "allocfail.follows", "error.id", "event.reason"),
    "verdict": ("allocfail.verdict",),
    "articles": ("allocfail.kb", "allocfail.kb_url", "rule", "event.reference"),
}
#: Where sentences stand.
_PROSE = ("allocfail.verdict", "allocfail.kb", "rule.name", "allocfail.taints")
#: Fields whose values sentences hold.
_NAMES = (
    *("allocfail.gfp.name", "allocfail.slab.cache", "allocfail.vmalloc.reason", "allocfail.site", "process.name"),
    *("allocfail.oom.victim", "allocfail.oom.memcg", "allocfail.memory.worst_zone"),
)
_NUMBER = r"0x[0-9a-f]+|\d+(?:\.\d+)*|_{0,2}GFP_[A-Z0-9_|]+"


class Input(NamedTuple):
    """One log of a set."""

    name: str
    data: bytes


def _cases() -> Iterator[Input]:
    for path in sorted([*CASES.rglob("*.log"), *SAMPLES.glob("*.log")]):
        # A form of one report is named with its folder.
        form = path.parent not in {CASES, SAMPLES}
        yield Input(f"{path.parent.name}/{path.stem}" if form else path.stem, path.read_bytes())


@cache
def _generated() -> list[Input]:
    made = []
    for number in range(GENERATED):
        rng = random.Random(f"golden {number}")
        dump = generate(rng, prefix=None, tangle=rng.choice(TANGLES) if rng.random() < 0.4 else None)
        kernel = dump.kernel
        name = " ".join([f"{number:04}", dump.kind, kernel.release, kernel.arch, dump.prefix, *dump.tangles])
        made.append(Input(name, dump.text.encode()))
    return made


def _damaged() -> Iterator[Input]:
    whole = [given.data for given in _generated()]
    for number in range(DAMAGED):
        rng = random.Random(f"golden damage {number}")
        first, second = rng.choice(whole), rng.choice(whole)
        yield Input(f"{number:04}", mutate(rng, first, second, mixing=rng.random() < 0.5))


def _real(of: str) -> Iterator[Input]:
    for path in sorted((SHARED / of / "events").glob("*")):
        yield Input(path.stem, path.read_bytes())


def inputs(of: str) -> Iterable[Input]:
    """Return the logs of a set; of real ones there are none where the shared folder is not there."""
    return _real(of) if of in REAL else {"cases": _cases, "generated": _generated, "damaged": _damaged}[of]()


def documents(data: bytes) -> list[dict[str, Any]]:
    """Return what a log becomes: the documents that decoding gives, then the one that enriching gives."""
    found = [event.document for event in decode_bytes(data, OPTIONS)]
    filled = enrich({"message": data.decode("utf-8", "replace")}, OPTIONS)
    return found if filled is None else [*found, filled]


def _take(document: dict[str, Any], path: str) -> Any:
    """Take a field out of a document whose objects, down to the second level, are its own; None where there is none."""
    head, _, tail = path.partition(".")
    if not tail:
        return document.pop(head, None)
    inner = document.get(head)
    return inner.pop(tail, None) if isinstance(inner, dict) else None


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def grouped(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a document's fields by group."""
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
    groups = {name: {path: _take(rest, path) for path in paths} for name, paths in GROUPS.items()}
    groups["event"] = rest
    return groups


@lru_cache(maxsize=256)
def _filled(names: tuple[str, ...]) -> re.Pattern[str]:
    # A task may be called "failed": a name that could be a word of the sentence is none.
    known = sorted((name for name in set(names) if re.search(r"[^a-z]", name)), key=lambda name: (-len(name), name))
    return re.compile("|".join([*(rf"(?<!\w){re.escape(name)}(?!\w)" for name in known), _NUMBER]))


def _names(document: dict[str, Any]) -> tuple[str, ...]:
    return tuple(value for name in _NAMES if isinstance(value := _at(document, name), str))


def _apart(value: Any, pattern: re.Pattern[str], words: set[str]) -> Any:
    """Return a value with what is filled into its sentences instead of them; the sentences go to ``words``."""
    if isinstance(value, str):
        if " " not in value:
            return value
        words.add(pattern.sub("*", value))
        return pattern.findall(value)
    if isinstance(value, dict):
        return {key: _apart(inner, pattern, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [_apart(inner, pattern, words) for inner in value]
    return value


def without_prose(document: dict[str, Any], words: set[str]) -> dict[str, Any]:
    """Return a document with what is filled into its sentences instead of them, and add their wordings to `words`.

    A wording has the field's dotted name before it and ``*`` for whatever was filled in.
    """
    pattern = _filled(_names(document))
    out = dict(document)
    for path in _PROSE:
        if (value := _at(document, path)) is not None:
            found: set[str] = set()
            head, _, tail = path.partition(".")
            out[head] = {**out[head], tail: _apart(value, pattern, found)}
            words |= {f"{path}: {text}" for text in found}
    return out


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:7]


def row(given: Input, made: list[dict[str, Any]], words: set[str]) -> str:
    """Return the line of a log in its list; the wordings of its documents' sentences go to `words`."""
    groups = [grouped(without_prose(document, words)) for document in made]
    hashes = (_hash(json.dumps([one[name] for one in groups], sort_keys=True).encode()) for name in GROUPS)
    return "\t".join([given.name, _hash(given.data), *hashes])


@cache
def rows(of: str) -> tuple[list[str], set[str]]:
    """Return the lines of a set's list, once a process, and the wordings in its documents as ``words.txt`` has them."""
    words: set[str] = set()
    return [row(given, documents(given.data), words) for given in inputs(of)], words


def read(of: str) -> list[str]:
    """Return the lines of a committed list, without its head."""
    return (FOLDER / f"{of}.txt").read_text(encoding="utf-8").splitlines()[of != "words" :]


def write() -> Iterator[Path]:
    """Write every list anew, the corpus' only where it is there; yield the files that changed."""
    words: set[str] = set()
    for of in SETS:
        lines, found = rows(of)
        if of not in REAL:
            words |= found
        elif not lines:
            continue
        yield from _put(FOLDER / f"{of}.txt", ["\t".join(["log", "input", *GROUPS]), *lines])
    yield from _put(FOLDER / "words.txt", sorted(words))


def _put(path: Path, lines: list[str]) -> Iterator[Path]:
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        yield path
