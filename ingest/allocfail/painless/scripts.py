"""From the decoder's functions to scripts: what one begins with, all that can be reached from there, and no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocfail.content import content_path
from allocfail.painless.code import RESERVED, Unit
from allocfail.painless.sources import CompileError, Sources, load
from allocfail.painless.statements import compile_function

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WORK", "Script", "compile_script", "kit_functions", "step_script"]

PACKAGE = "allocfail.decoder"
_MARK = re.compile("\x01(=?)([^\x02,]*)(,?)\x02")
_HEAD = re.compile(r"^(?:def|void|boolean|int|long|double|String|Map|List|int\[\]) ([a-z_0-9A-Z]+)\(", re.MULTILINE)
_CALL = re.compile(r"\b([a-z_0-9]+)\(")


@dataclass(frozen=True)
class Script:
    """A script: its functions, and the constants that they read."""

    source: str
    constants: dict[str, Any]


def kit_functions(text: str) -> dict[str, str]:
    """Return the functions of a file of the kit by name, each with the comment in front of it."""
    found: dict[str, str] = {}
    for part in re.split(r"\n\n(?=(?://|[a-zA-Z]))", text):
        head = _HEAD.search(part)
        if head is not None:
            found[head[1]] = part.strip()
    return found


@cache
def _kit() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(content_path("pipelines/painless").glob("*.painless")):
        found |= kit_functions(path.read_text(encoding="utf-8"))
    return found


class _Decoder:
    """Everything that can be compiled, made when it is asked for."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.names = _names(sources)
        self._units: dict[str, Unit] = {}

    def unit(self, name: str) -> Unit:
        if name not in self._units:
            function = self.sources.functions.get(name)
            if function is None:
                raise CompileError(f"{name}: no such function in the decoder")
            for unit in compile_function(self.sources, self.names, function):
                self._units[unit.name] = unit
        return self._units[name]

    def reach(self, entry: str) -> dict[str, Unit]:
        """Return all that can be reached, in the order in which it is first called."""
        found: dict[str, Unit] = {}
        waiting = [entry]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.unit(name)
                waiting += sorted(found[name].calls, reverse=True)
        return found


def _names(sources: Sources) -> dict[str, str]:
    """Return what every function is called: as in Python, with its module in front where two are called the same."""
    by_name: dict[str, list[str]] = {}
    wanted: dict[str, str] = {}
    for full, function in sources.functions.items():
        name = function.node.name
        if function.owner is not None:
            owner = function.owner.info.name.lstrip("_")
            name = f"new_{owner}" if name == "__init__" else f"{owner}_{name.strip('_')}"
        wanted[full] = name.strip("_")
        by_name.setdefault(wanted[full], []).append(full)
    for name, owners in by_name.items():
        if len(owners) > 1 or name in RESERVED or name in _kit():
            for full in owners:
                wanted[full] = f"{sources.functions[full].module.rpartition('.')[2]}_{name}"
    taken: set[str] = set()
    for full in sorted(wanted, key=lambda full: sources.functions[full].node.name.startswith("_")):
        while wanted[full] in taken:
            wanted[full] += "_"
        taken.add(wanted[full])
    return wanted


@cache
def _decoder() -> _Decoder:
    return _Decoder(load(Path(__file__).parents[2], PACKAGE))


def compile_script(entry: str) -> Script:
    """Return the script that runs ``entry``, a function of the decoder by its full name, and what it needs.

    Raises :class:`CompileError` for Python that has no translation.
    """
    decoder = _decoder()
    units = decoder.reach(entry)
    needing = _needing(units)
    texts = [_MARK.sub(lambda mark: _known(mark, needing), unit.text) for unit in units.values()]
    kit = [_kit()[name] for name in _kit_needed(units.values())]
    constants = {key: value for unit in units.values() for key, value in sorted(unit.constants.items())}
    return Script("\n".join([*kit, *texts]), dict(sorted(constants.items())))


#: Where a document carries what one script hands to the next.
WORK = "_allocfail_work"


def step_script(entry: str, *, first: bool, last: bool) -> Script:
    """Return the script of one step of :mod:`allocfail.decoder.steps`; the first begins the work, the last ends it."""
    script = compile_script(entry)
    decoder = _decoder()
    known = "(Map) params.known, " if entry in _needing(decoder.reach(entry)) else ""
    call = f"{decoder.names[entry]}({known}ctx, "
    lines = ["List options = (List) params.options;"]
    if first:
        lines.append(f"List work = {call}options);")
    else:
        lines.append(f"List work = (List) ctx.remove('{WORK}');")
        lines.append(f"if (work != null) {{\n work = {call}work, options);\n}}")
    if not last:
        lines.append(f"if (work != null) {{\n ctx.put('{WORK}', work);\n}}")
    return Script("\n".join([script.source, *lines]), script.constants)


def _needing(units: dict[str, Unit]) -> set[str]:
    """Return the functions that need the facts, themselves or for what they call."""
    needing = {name for name, unit in units.items() if unit.constants}
    while True:
        more = {name for name, unit in units.items() if name not in needing and unit.calls & needing}
        if not more:
            return needing
        needing |= more


def _known(mark: re.Match[str], needing: set[str]) -> str:
    if mark[2] not in needing:
        return ""
    return ("Map known" if mark[1] else "known") + (", " if mark[3] else "")


def _kit_needed(units: Iterable[Unit]) -> list[str]:
    kit = _kit()
    found: dict[str, None] = {}
    waiting = sorted({name for unit in units for name in unit.kit})
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if name not in kit:
            raise CompileError(f"the kit has no {name}")
        found[name] = None
        waiting += [called for called in _CALL.findall(kit[name]) if called in kit]
    return sorted(found)
