"""What every name in ``kb/facts/frames.yml`` does to a trace that it stands in, a line a name, in ``frames.txt``.

A name that goes from a list, or comes to one, changes its line: the file is a second witness, written by decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from allocfail.content import content_path
from golden import FOLDER
from pieces import BANNER, at, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PATH", "committed", "lines"]

PATH = FOLDER / "frames.txt"
HEADER = "app: page allocation failure: order:0, mode:0xa20(GFP_ATOMIC), nodemask=(null)"
OUTER = ("my_alloc", "my_caller", "my_thread")


def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(content_path("kb/facts/frames.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in facts.items() if name not in {"about", "sources"}}


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _names(inner)
    else:
        yield from value


def _document(*frames: str, header: bool = True) -> dict[str, Any]:
    head = [HEADER] if header else []
    found = decoded([*head, BANNER, "Call Trace:", *(f" {name}+0x10/0x20" for name in frames)])
    return found[0] if found else {}


def _kept(document: dict[str, Any]) -> str:
    text = str(at(document, "allocfail.fingerprint.text"))
    return text.rpartition("|")[2] if at(document, "allocfail.fingerprint.level") == "trace" else ""


def _does(name: str) -> list[str]:
    """Return what a name does, in words."""
    does = []
    inner = _document("dump_stack", "warn_alloc", name, *OUTER)
    kept = _kept(inner)
    does.append(kept.split(">")[0].replace("my_alloc", "plumbing") or "entry")
    outer = _document("dump_stack", "warn_alloc", *OUTER, name)
    if _kept(outer) == ">".join(OUTER):
        does.append("ends the group")
    if at(outer, "allocfail.complete") is True:
        does.append("outermost")
    if context := at(outer, "allocfail.trace.context"):
        does.append(str(context))
    if _document(name, "warn_alloc", *OUTER, header=False):
        does.append("prints a dump")
    if _document("dump_stack", name, *OUTER, header=False):
        does.append("announces a failure")
    return does


def committed() -> list[str]:
    """Return the lines as committed."""
    return PATH.read_text(encoding="utf-8").splitlines()


def lines() -> list[str]:
    """Return a line for every name in the facts or in the file, from what it does now."""
    facts = _facts()
    prefixes = facts.pop("abi_prefixes")
    known = [line.partition(": ")[0] for line in committed()] if PATH.is_file() else []
    names = {name for name in (*_names(facts), *known) if not name.endswith("_*")}
    prefixes = {*prefixes, *(name[:-1] for name in known if name.endswith("_*"))}
    found = {name: ", ".join(_does(name)).replace(name, "a frame") for name in names}
    for prefix in prefixes:
        found[f"{prefix}*"] = _kept(_document("dump_stack", "warn_alloc", f"{prefix}fsync", *OUTER)).split(">")[0]
    return [f"{name}: {does}" for name, does in sorted(found.items())]
