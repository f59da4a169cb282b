"""Real dumps with hand-checked truth, in the shared folder beside the project, and how well they are read.

``python tests/corpora.py [-v]`` prints recall, precision and the share of right fields; with ``-v`` what is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from allocfail.logs.events import decode_bytes

SHARED = Path(__file__).parents[2] / "shared"
FOLDERS = ("corpus", "corpus-new")
KINDS = {
    "page_allocation_failure": "page_allocation_failure",
    "stall": "page_allocation_stall",
    "slub": "slab_allocation_failure",
    "vmalloc": "vmalloc_allocation_failure",
    "oom": "oom_kill",
}


#: Events beyond those of a file's table, and why they are right: the tables are older than what counts as an event.
EXPLAINED = {
    "076": "a trace that goes from dump_stack straight into warn_alloc is a body whose header is lost",
    "117": "lines that an OOM kill leaves by themselves are one event",
}
#: Files whose table has a frame twice that their text has once.
CORRECTED = {"104"}


class Scored(NamedTuple):
    """How the events of one file or more were read."""

    wanted: int = 0
    found: int = 0
    matched: int = 0
    fields: int = 0
    right: int = 0

    def plus(self, other: Scored) -> Scored:
        """Return the sum."""
        return Scored(*(a + b for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        recall, precision = self.matched / self.wanted, self.matched / self.found
        fields = self.right / self.fields
        return f"recall {recall:.3f}  precision {precision:.3f}  fields {fields:.4f}  ({self.wanted} events)"


def rows(folder: str) -> list[dict[str, Any]]:
    """Return the table of a folder, each row with its bytes' path; nothing where the folder is absent."""
    index = SHARED / folder / "index.jsonl"
    if not index.is_file():
        return []
    found = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    return [{**row, "path": SHARED / folder / row["file"]} for row in found]


def at(document: dict[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def said(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a document says in the terms of the table."""
    functions = at(document, "allocfail.trace.functions") or []
    reliable = at(document, "allocfail.trace.reliable") or []
    size = at(document, "allocfail.vmalloc.bytes") or at(document, "allocfail.vmalloc.bytes_text")
    zones = at(document, "allocfail.memory.zones") or []
    return {
        "kind": at(document, "allocfail.kind"),
        "comm": at(document, "process.name"),
        "order": at(document, "allocfail.order"),
        "mode": at(document, "allocfail.gfp.mask"),
        "nodemask": at(document, "allocfail.nodemask"),
        "cpuset": at(document, "allocfail.cpuset"),
        "mems_allowed": at(document, "allocfail.mems_allowed"),
        "pid": at(document, "process.pid"),
        "tainted": at(document, "allocfail.tainted"),
        "kernel_release": at(document, "host.os.kernel"),
        "cpu": at(document, "allocfail.cpu"),
        "hardware": at(document, "allocfail.hardware"),
        "trace_reliable": [f for f, good in zip(functions, reliable, strict=True) if good],
        "trace_guess": [f for f, good in zip(functions, reliable, strict=True) if not good],
        "slub_cache": at(document, "allocfail.slab.cache"),
        "size": None if size is None else str(size),
        "host": at(document, "host.hostname"),
        "complete": at(document, "allocfail.complete"),
        "context": at(document, "allocfail.trace.context"),
        "site": at(document, "allocfail.site"),
        "modules": at(document, "allocfail.trace.modules") or [],
        "suppressed": at(document, "allocfail.suppressed"),
        "victim": at(document, "allocfail.oom.victim"),
        "victim_pid": at(document, "allocfail.oom.victim_pid"),
        "constraint": at(document, "allocfail.oom.constraint"),
        "memcg": at(document, "allocfail.oom.memcg"),
        "score_adj": at(document, "allocfail.oom.score_adj"),
        "free_blocks": {z["name"]: z["free_blocks"] for z in zones if "free_blocks" in z},
    }


def wanted(event: dict[str, Any]) -> dict[str, Any]:
    """Return what the table says of an event, in the same terms."""
    out = {name: event[name] for name in said({}) if name in event}
    out["kind"] = KINDS[event["kind"]]
    for name in ("trace_reliable", "trace_guess", "free_blocks"):
        if out.get(name) is None:
            out.pop(name, None)  # interleaved: nobody attributed the frames by hand
    size = event.get("vmalloc_size") or event.get("vmalloc_bytes") or event.get("size")
    if size is not None:
        out["size"] = str(size)
    return out


def differences(want: dict[str, Any], have: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that are not as wanted: what is wanted, what is there."""
    return {name: (value, have[name]) for name, value in want.items() if not _same(value, have[name])}


def _same(want: Any, have: Any) -> bool:
    """Whether a value is right; the table writes ``name(...)`` for a long cache's name, and ``?`` behind a doubt."""
    if isinstance(want, str) and isinstance(have, str) and want != have:
        if want.endswith("(...)"):
            return have.startswith(want.removesuffix("...)"))
        return want == have + "?"
    return bool(want == have)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def score(row: dict[str, Any], *, tell: bool = False) -> Scored:
    """Decode a file and compare it with the truth, each event with the one of its kind that is most like it."""
    documents = [event.document for event in decode_bytes(row["path"].read_bytes())]
    number = Path(row["file"]).name[:3]
    if number in EXPLAINED:
        extra = next(d for d in documents if "order" not in d["allocfail"])
        documents = [d for d in documents if d is not extra]
    have = [said(document) for document in documents]
    left = list(range(len(have)))
    matched = fields = right = 0
    for event in row["events"]:
        want = wanted(event)
        if number in CORRECTED:
            want["trace_reliable"] = list(dict.fromkeys(want["trace_reliable"]))
        alike = [i for i in left if have[i]["kind"] == want["kind"]]
        if not alike:
            if tell:
                _say(f"{row['file']}: MISSED {want}")
            continue
        best = min(alike, key=lambda i: len(differences(want, have[i])))
        left.remove(best)
        wrong = differences(want, have[best])
        if wrong and tell:
            _say(f"{row['file']}: line {event['line']}: {wrong}")
        matched += 1
        fields += len(want)
        right += len(want) - len(wrong)
    if left and tell:
        for i in left:
            _say(f"{row['file']}: INVENTED {documents[i].get('message')!r} {documents[i]['event']['reason']}")
    return Scored(len(row["events"]), len(have), matched, fields, right)


def main() -> None:
    """Print the figures of each folder."""
    tell = "-v" in sys.argv
    for folder in FOLDERS:
        total = Scored()
        for row in rows(folder):
            total = total.plus(score(row, tell=tell))
        _say(f"{folder:12} {total}")


if __name__ == "__main__":
    main()
