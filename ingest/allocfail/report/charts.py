"""Pictures of an event, as SVG that takes its colours from the page around it.

Every chart says in text what it draws, and tells its parts apart by pattern and label, not by colour alone. Nothing
from a log enters an attribute; text is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.articles.shell import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["free_lists", "size", "timeline", "zone"]

_WIDTH = 380
#: Characters of a name in the timeline.
_NAME = 62
_LEFT, _RIGHT = 8, 372
#: Above this many marks' worth of free memory the bar is cut, or the marks could not be told apart.
_CUT = 4
#: Orders that a chart of free lists has room for; no kernel has had more than 15 (MAX_ORDER, powerpc with 64 kB pages).
_MOST_ORDERS = 16


def size(kb: int) -> str:
    """Return an amount of kB as a person says it: ``20.2 MB``."""
    value, unit = float(kb), "kB"
    for larger in ("MB", "GB", "TB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "kB" or value >= 100 else f"{value:.1f} {unit}"


def _svg(height: int, label: str, parts: Iterable[str]) -> str:
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}" class="chart">{inside}</svg>'


def _text(x: float, y: float, text: object, kind: str = "t", anchor: str = "") -> str:
    side = f" fig-{anchor}" if anchor else ""
    return f'<text class="fig-{kind}{side}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="fig-{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}"/>'


def _hatched(x: float, y: float, width: float, height: float) -> str:
    """Return slanted lines over a rectangle: a pattern of their own would need an id that is one of its kind."""
    lines = []
    at = x - height
    while at < x + width:
        left, right = max(at, x), min(at + height, x + width)
        if right > left:
            lines.append(f"M{left:.1f} {y + height - (left - at):.1f}L{right:.1f} {y + height - (right - at):.1f}")
        at += 6
    return f'<path class="fig-hatch" d="{"".join(lines)}"/>' if lines else ""


def _number(values: dict[str, Any], name: str) -> int | None:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def zone(printed: dict[str, Any], judged: dict[str, Any] | None = None) -> str:
    """Return a zone's free memory against its marks.

    ``printed`` is an entry of ``allocfail.memory.zones``, ``judged`` the one of ``allocfail.verdict.zones`` for the
    same zone, which adds what counted for the request and the limit that it had to exceed. Empty where the dump prints
    no free memory.
    """
    judged = judged or {}
    free = _number(printed, "free_kb")
    if free is None:
        return ""
    marks = [(name, value) for name in ("min", "low", "high") if (value := _number(printed, f"{name}_kb")) is not None]
    usable, needed = _number(judged, "usable_kb"), _number(judged, "needed_kb")
    highest = max([value for _, value in marks] + [needed or 0])
    cut = bool(highest) and free > _CUT * highest
    scale = _Scale(_CUT * highest if cut else max(free, highest, 1))
    counted = free if usable is None else min(usable, free)
    parts = [
        _rect(_LEFT, 34, _RIGHT - _LEFT, 24, "box"),
        _rect(_LEFT, 34, scale.x(counted) - _LEFT, 24, "free"),
    ]
    said = [f"free {size(free)}"]
    if counted < free:
        left, width = scale.x(counted), scale.x(free) - scale.x(counted)
        parts += [_rect(left, 34, width, 24, "used"), _hatched(left, 34, width, 24)]
        said.append(f"{size(counted)} of it count for this request")
    if cut:
        parts.append(f'<path class="fig-line" d="M{_RIGHT - 14} 30L{_RIGHT - 8} 62M{_RIGHT - 8} 30L{_RIGHT - 2} 62"/>')
    parts.append(_text(_LEFT, 24, ", ".join(said), "b"))
    parts += _marks(marks, scale)
    amounts = [f"{name} {size(value)}" for name, value in marks]
    parts.append(_text(_LEFT, 91, ", ".join(amounts) or "no marks printed"))
    said += amounts
    if needed is not None:
        x = scale.x(needed)
        parts.append(f'<path class="fig-line" d="M{x:.1f} 28V66"/>')
        parts.append(_text(_LEFT, 106, f"The request needed more than {size(needed)} (thick line)."))
        said.append(f"the request needed more than {size(needed)}")
    return _svg(97 if needed is None else 112, ", ".join(said), parts)


class _Scale(NamedTuple):
    """From kB to a place in the chart."""

    most: int

    def x(self, kb: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * min(kb, self.most) / (self.most * 1.04)


def _marks(marks: Sequence[tuple[str, int]], scale: _Scale) -> Iterable[str]:
    """Yield a zone's marks; a name that would stand on another's is left out."""
    last = -100.0
    for name, value in marks:
        x = scale.x(value)
        yield f'<path class="fig-mark" d="M{x:.1f} 34V62"/>'
        if x - last > 24:
            yield _text(x, 74, name, "t", "c" if x > 20 else "")
            last = x


def free_lists(printed: dict[str, Any], order: int | None, page_kb: int, usable: int | None = None) -> str:
    """Return a zone's free blocks by order, with the order that was asked for marked.

    ``printed`` is an entry of ``allocfail.memory.zones``, ``usable`` the verdict's largest order that the request may
    use: larger blocks belong to others. Empty where the dump prints no free list.
    """
    counts = printed.get("free_blocks")
    if not isinstance(counts, list) or not counts or not all(isinstance(count, int) for count in counts):
        return ""
    counts = [max(0, min(count, 1 << 50)) for count in counts[:_MOST_ORDERS]]
    letters = printed.get("block_types")
    letters = [str(entry)[:6] for entry in letters] if isinstance(letters, list) else []
    step = (_RIGHT - _LEFT) / len(counts)
    base = 96
    tallest = max(count.bit_length() for count in counts) or 1
    parts = []
    for at, count in enumerate(counts):
        x = _LEFT + at * step
        fits = (order is None or at >= order) and (usable is None or at <= usable)
        if count:
            height = 8 + 56 * count.bit_length() / tallest
            parts.append(_rect(x + 2, base - height, step - 4, height, "free" if fits else "used"))
            if not fits:
                parts.append(_hatched(x + 2, base - height, step - 4, height))
            parts.append(_text(x + step / 2, base - height - 3, _short(count), "s", "c"))
        else:
            parts.append(_text(x + step / 2, base - 3, "0", "s", "c"))
        parts.append(_text(x + step / 2, base + 12, size(page_kb << at).replace(" ", ""), "x", "c"))
        if at < len(letters) and letters[at]:
            parts.append(_text(x + step / 2, base + 23, letters[at], "x", "c"))
    parts.append(f'<path class="fig-line" d="M{_LEFT} {base}H{_RIGHT}"/>')
    there = [at for at, count in enumerate(counts) if count]
    said = f"largest free block: {size(page_kb << there[-1])}" if there else "no free block"
    if there and usable is not None and usable < there[-1]:
        said = f"largest usable block: {size(page_kb << usable)}"
    if order is not None and 0 < order < len(counts):
        x = _LEFT + order * step
        parts.append(f'<path class="fig-cut" d="M{x:.1f} 20V{base}"/>')
        said += f"; asked for {size(page_kb << order)} (dashed line)"
    parts.append(_text(_LEFT, 14, said[0].upper() + said[1:] + "."))
    return _svg(base + 28, f"Free blocks: {said}", parts)


def _short(count: int) -> str:
    """Return a count in at most four characters."""
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= factor:
            return f"{count // (1000 if letter == 'k' else factor)}{letter}"
    return str(count)


def _fitting(name: str) -> str:
    """Return a name as far as it fits into the chart, cut between words."""
    if len(name) <= _NAME:
        return name
    return name[:_NAME].rpartition(" ")[0].rstrip(",(") + " …" if " " in name[:_NAME] else name[: _NAME - 1] + "…"


def timeline(times: Sequence[float], rows: Sequence[int], names: Sequence[str], ends: tuple[str, str]) -> str:
    """Return when several events happened, a row for each group of equal ones.

    ``times`` and ``rows`` have an entry an event: seconds, and the number of its group in ``names``. ``ends`` are the
    first and the last time in words.
    """
    first, last = min(times), max(times)
    width = (last - first) or 1
    height = 26 + 30 * len(names)
    parts = [_text(_LEFT, 12, ends[0], "x"), _text(_RIGHT, 12, ends[1], "x", "e")]
    for number, name in enumerate(names):
        y = 34 + 30 * number
        mine = [time for time, row in zip(times, rows, strict=True) if row == number]
        parts.append(_text(_LEFT, y - 2, f"{_fitting(name)} ({len(mine)})", "s"))
        parts.append(f'<path class="fig-cut" d="M{_LEFT} {y + 8}H{_RIGHT}"/>')
        places = sorted({round(_LEFT + 4 + (_RIGHT - _LEFT - 8) * (time - first) / width) for time in mine})
        parts += [f'<circle class="fig-point" cx="{x}" cy="{y + 8}" r="4"/>' for x in places]
    return _svg(height, f"{len(times)} events in {len(names)} groups, from {ends[0]} to {ends[1]}", parts)
