"""Events as HTML: for the page of ``kb serve``, and as one file to attach to a ticket.

What goes in are documents, decoded here or pasted by somebody: no value is trusted to have its type, every text is
escaped, and links go to articles of ours only.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.articles import articles as kb
from allocfail.articles.render import render as render_markdown
from allocfail.articles.shell import PARAGRAPH, TITLE, Page, breakable, escape
from allocfail.decoder.fields import at
from allocfail.report import charts
from allocfail.report.event import misled, steps, vmalloc_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MOST_GROUPS", "events", "standalone", "title"]

#: Groups of equal events that are shown whole; of the others only the line in the list.
MOST_GROUPS = 12
#: Groups in the list and the timeline.
MOST_LISTED = 40
#: Characters of the event's own lines that are shown.
MOST_ORIGINAL = 60_000

_ANCHOR = re.compile(r"#([a-z0-9-]{1,80})$", re.ASCII)
_ID = re.compile(r' id="[a-z0-9-]+"')
_LINK = re.compile(r'href="(?!https?:)([a-z0-9-]+\.html)?(#[a-z0-9-]+)?"', re.ASCII)
_OWN_LINK = re.compile(r'<a href="(?!https?:)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)

Document = dict[str, Any]


def _text(document: Any, path: str) -> str | None:
    """Return the text or number at a dotted path as text; None where there is none."""
    value = at(document, path) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value)


def _list(document: Any, path: str) -> list[Any]:
    value = at(document, path) if isinstance(document, dict) else None
    return value if isinstance(value, list) else []


def _whole(document: Any, path: str) -> int | None:
    value = at(document, path) if isinstance(document, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(text: str, fits: int = PARAGRAPH) -> str:
    """Return text escaped, with places where a line may end in words that are longer than ``fits``."""
    return breakable(escape(text), fits)


def standalone(documents: Sequence[Document], base: str | None) -> bytes:
    """Return one self-contained HTML file about ``documents``.

    Links go to the articles below ``base``; None says that they are served nowhere, and names the command instead.
    """
    name = title(documents[0]) if len(documents) == 1 else f"{len(documents)} memory-allocation failures"
    page = Page(
        title=f"{name} - allocfail",
        summary="Linux memory-allocation failures, decoded.",
        main=f'<main id="content"><h1>{_shown(name, TITLE)}</h1>{events(documents, base)}</main>',
        layout="event-page",
        alone=True,
    )
    return page.encode()


def events(documents: Sequence[Document], base: str | None = "") -> str:
    """Return ``documents`` as HTML: equal ones together, the first of each group whole.

    ``base`` is where the articles are: empty for links relative to the page, None for no links.
    """
    groups: dict[str, list[Document]] = {}
    for number, document in enumerate(documents):
        key = _text(document, "allocfail.fingerprint.id") or f"event {number}"
        groups.setdefault(key, []).append(document)
    ranked = sorted(groups.values(), key=len, reverse=True)
    several = _overview(ranked) if len(documents) > 1 else ""
    numbered = enumerate(ranked[:MOST_GROUPS], 1)
    read: set[str] = set()
    whole = "".join(_event(group, base, number if len(documents) > 1 else None, read) for number, group in numbered)
    rest = len(ranked) - MOST_GROUPS
    return several + whole + (f"<p>{rest} more groups are in the list above only.</p>" if rest > 0 else "")


def title(document: Document) -> str:
    """Return what an event is called, in a line."""
    return (
        _text(document, "event.reason")
        or _text(document, "allocfail.fingerprint.title")
        or _text(document, "message")
        or "memory-allocation failure"
    )


def _overview(groups: Sequence[Sequence[Document]]) -> str:
    """Return the list of groups, and when their events happened where the log says so."""
    count = sum(len(group) for group in groups)
    listed = groups[:MOST_LISTED]
    titles = Counter(title(group[0]) for group in listed)
    items = []
    for number, group in enumerate(listed, 1):
        called = _shown(title(group[0]))
        name = f'<a href="#event-{number}">{called}</a>' if number <= MOST_GROUPS else called
        hosts = sorted({host for document in group if (host := _host(document)) is not None})
        on = f" on {escape(', '.join(hosts[:4]))}{' and others' if len(hosts) > 4 else ''}" if hosts else ""
        # Groups that differ only in their traces have one title.
        task = _text(group[0], "process.name") if titles[title(group[0])] > 1 else None
        by = f"; {'first ' if len(group) > 1 else ''}task {escape(task)}" if task else ""
        items.append(f"<li>{name}<br><span class='in'>{_times(len(group))}{on}{_span(group)}{by}</span></li>")
    more = f"<p>{len(groups) - len(listed)} more groups.</p>" if len(groups) > len(listed) else ""
    return (
        f"<h2>{count} events in {len(groups)} group{'s' if len(groups) > 1 else ''}</h2>{_timeline(listed)}"
        f"<ol>{''.join(items)}</ol>{more}"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _host(document: Document) -> str | None:
    return _text(document, "host.hostname") or _text(document, "log.syslog.hostname")


def _span(group: Sequence[Document]) -> str:
    times = sorted(time for document in group if (time := _text(document, "@timestamp")) is not None)
    if not times:
        return ""
    return f", {escape(times[0])}" + (f" to {escape(times[-1])}" if times[0] != times[-1] else "")


def _moment(document: Document, path: str) -> float | None:
    """Return the time of a document at ``path`` in seconds: of day and year, or since boot."""
    said = _text(document, path)
    if said is None:
        return None
    try:
        return datetime.fromisoformat(said).timestamp() if path == "@timestamp" else float(said)
    except (ValueError, OverflowError):
        return None


def _timeline(groups: Sequence[Sequence[Document]]) -> str:
    """Return when the events of several groups happened; by seconds since boot where no line has a time."""
    for path, unit in (("@timestamp", ""), ("allocfail.uptime", " s after boot")):
        placed = [
            (moment, number, document)
            for number, group in enumerate(groups[:MOST_GROUPS], 1)
            for document in group
            if (moment := _moment(document, path)) is not None
        ]
        if len({moment for moment, _, _ in placed}) < 2:
            continue
        first, last = min(placed, key=lambda entry: entry[0])[2], max(placed, key=lambda entry: entry[0])[2]
        rows = {number: row for row, number in enumerate(dict.fromkeys(number for _, number, _ in placed))}
        chart = charts.timeline(
            [moment for moment, _, _ in placed],
            [rows[number] for _, number, _ in placed],
            [f"{number}. {title(groups[number - 1][0])}" for number in rows],
            (f"{_text(first, path)}{unit}", f"{_text(last, path)}{unit}"),
        )
        return f'<figure class="fig">{chart}</figure>'
    return ""


def _event(group: Sequence[Document], base: str | None, number: int | None, read: set[str]) -> str:
    """Return the first event of a group.

    ``number`` is its place in the list, None where there is no list; ``read`` holds what stands on the page already.
    """
    document = group[0]
    name = f"<h2 id='event-{number}'>{_shown(title(document), TITLE)}</h2>" if number is not None else ""
    return (
        f'<article class="event">{name}{_answer(document)}{_facts(document, len(group))}'
        f"{_zones(document)}{_trace(document)}{_readings(document, base, read)}{_original(document)}</article>"
    )


@cache
def _words() -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = facts.load()["page"]
    return words


def _answer(document: Document) -> str:
    """Return what happened, how bad it is, what to do and what not, with the event's own numbers."""
    severity = _text(document, "allocfail.verdict.severity") or "unknown"
    words = _words()["severity"]
    known = severity if severity in words else "unknown"
    parts = [f"<p><span class='severity'>{escape(words[known])}</span></p>"]
    if (reason := _text(document, "allocfail.verdict.severity_reason")) is not None:
        parts.append(f"<p>{_shown(reason)}</p>")
    if (summary := _text(document, "allocfail.verdict.summary")) is not None:
        parts.append(f"<h3>What happened</h3><p>{_shown(summary)}</p>")
    gave_up = [_said(entry) for entry in _list(document, "allocfail.verdict.gave_up")]
    if any(gave_up):
        parts.append(f"<p>Why it was let fail: {_shown('; '.join(filter(None, gave_up)))}.</p>")
    parts.append(_do_this(document))
    parts.append(_do_not(document))
    missing = [_said(entry) for entry in _list(document, "allocfail.verdict.unknown")]
    if any(missing):
        parts.append(f"<p class='hint'>A firmer answer needs: {_shown(', '.join(filter(None, missing)))}.</p>")
    if _text(document, "allocfail.provenance") == "forged":
        parts.insert(0, "<p><strong>Forged: user space wrote this record, not the kernel.</strong></p>")
    return f'<div class="answer {known}">{"".join(parts)}</div>'


def _do_not(document: Document) -> str:
    texts = misled(_text(document, "allocfail.verdict.cause"), _text(document, "allocfail.kind") or "")
    parts = [f"<p>Do not {_shown(text)}.</p>" for text in texts]
    value = _text(document, "allocfail.verdict.zone_reclaim_mode")
    if value in _words()["zone_reclaim"]:
        why = _text(document, "allocfail.verdict.zone_reclaim_reason")
        because = f" {_shown(why[:1].upper() + why[1:])}." if why else ""
        parts.append(f"<p><strong>{_shown(_words()['zone_reclaim'][value])}</strong>{because}</p>")
    return f"<h3>Do not do that</h3>{''.join(parts)}" if parts else ""


def _said(entry: object) -> str:
    """Return an entry that is text, or has some under a usual name."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict):
        return next(
            (str(entry[name]) for name in ("text", "reason", "name", "id") if isinstance(entry.get(name), str)), ""
        )
    return ""


def _do_this(document: Document) -> str:
    actions = [entry for entry in _list(document, "allocfail.verdict.actions") if isinstance(entry, dict)]
    if not actions and not _list(document, "allocfail.verdict.remedies"):
        actions = _found_out(document)
    items = []
    for action in actions:
        said = [_shown(_text(action, "action") or _text(action, "id") or "")]
        if (command := _text(action, "command")) is not None:
            said.append(f"<pre><code>{escape(command)}</code></pre>")
        for name, label in (("cost", "Cost"), ("check", "Check")):
            if (value := _text(action, name)) is not None and value != "none":
                said.append(f"<div class='in'>{label}: {_shown(value)}</div>")
        items.append(f"<li>{''.join(said)}</li>")
    if not items:
        remedies = [entry for entry in _list(document, "allocfail.verdict.remedies") if isinstance(entry, str)]
        items = [f"<li>{_shown(entry)}</li>" for entry in remedies]
    return f"<h3>Do this</h3><ol>{''.join(items)}</ol>" if items else ""


def _found_out(document: Document) -> list[dict[str, Any]]:
    cause = _text(document, "allocfail.verdict.cause")
    unknown = [entry for entry in _list(document, "allocfail.verdict.unknown") if isinstance(entry, str)]
    verdict = {"cause": cause, "unknown": unknown} if cause is not None else {}
    return steps(verdict, _text(document, "allocfail.kind") or "")


def _facts(document: Document, count: int) -> str:
    rows = [(name, value) for name, value in _rows(document) if value]
    if count > 1:
        rows.append(("how often", f"{count} equal events; this is the first"))
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{_shown(value)}</dd>" for name, value in rows)
    return f"<h3>What the log says</h3><dl class='facts'>{entries}</dl>"


def _when(document: Document) -> str:
    time, uptime = _text(document, "@timestamp"), _text(document, "allocfail.uptime")
    if time is None and uptime is not None:
        return f"{uptime} s after boot"
    return time or "no time in the log"


def _rows(document: Document) -> Iterable[tuple[str, str | None]]:
    def joined(*pairs: tuple[str, str | None]) -> str:
        return ", ".join(f"{name} {value}".strip() for name, value in pairs if value)

    yield "when and where", joined(("", _when(document)), ("on", _host(document)))
    yield (
        "task",
        joined(
            ("", _text(document, "process.name")),
            ("PID", _text(document, "process.pid")),
            ("CPU", _text(document, "allocfail.cpu")),
        ),
    )
    yield "kernel", joined(("", _text(document, "host.os.kernel")), ("", _text(document, "allocfail.tainted")))
    yield "machine", _text(document, "allocfail.hardware")
    yield "asked for", _asked(document)
    mask = joined(("", _text(document, "allocfail.gfp.mask")), ("=", _text(document, "allocfail.gfp.name")))
    yield "GFP mask", mask.replace(", =", " =")
    yield "flags", ", ".join(str(flag) for flag in _list(document, "allocfail.gfp.flags"))
    sleeps = at(document, "allocfail.gfp.may_sleep")
    yield "may sleep", ("yes" if sleeps else "no") if isinstance(sleeps, bool) else None
    yield (
        "nodes",
        joined(
            ("nodemask", _text(document, "allocfail.nodemask")),
            ("cpuset", _text(document, "allocfail.cpuset")),
            ("mems_allowed", _text(document, "allocfail.mems_allowed")),
        ),
    )
    yield "call site", joined(("", _text(document, "allocfail.site")), ("in", _text(document, "allocfail.subsystem")))
    yield "context", _text(document, "allocfail.trace.context")
    yield "slab cache", _text(document, "allocfail.slab.cache")
    yield (
        "killed",
        joined(("", _text(document, "allocfail.oom.victim")), ("PID", _text(document, "allocfail.oom.victim_pid"))),
    )
    yield "swap", _swap(document)
    yield (
        "not printed",
        joined(("", _text(document, "allocfail.suppressed")))
        and (f"{_text(document, 'allocfail.suppressed')} reports before this one, by the kernel's rate limit"),
    )
    yield "incomplete", _text(document, "allocfail.incomplete_reason")
    yield "group", _text(document, "allocfail.fingerprint.id")


def _asked(document: Document) -> str | None:
    vmalloc = at(document, "allocfail.vmalloc")
    if isinstance(vmalloc, dict):
        return vmalloc_request(vmalloc)
    order, page_kb = _whole(document, "allocfail.order"), _whole(document, "allocfail.memory.page_kb") or 4
    if order is not None and 0 <= order < 64:
        pages = 1 << order
        return f"order {order}: {pages} page{'s side by side' if pages > 1 else ''}, {charts.size(pages * page_kb)}"
    return None


def _swap(document: Document) -> str | None:
    free, total = _whole(document, "allocfail.memory.swap_free_kb"), _whole(document, "allocfail.memory.swap_total_kb")
    if total is None:
        return None
    return "none" if total == 0 else f"{charts.size(free or 0)} of {charts.size(total)} free"


def _zones(document: Document) -> str:
    """Return every zone of the dump with its charts, the verdict's words for it where there are some."""
    printed = [zone for zone in _list(document, "allocfail.memory.zones") if isinstance(zone, dict)][:64]
    if not printed:
        return ""
    judged = {
        (_whole(zone, "node"), _text(zone, "name")): zone
        for zone in _list(document, "allocfail.verdict.zones")
        if isinstance(zone, dict)
    }
    order, page_kb = _whole(document, "allocfail.order"), _whole(document, "allocfail.memory.page_kb") or 4
    page_kb = page_kb if 0 < page_kb <= 1024 else 4
    boxes = []
    for zone in printed:
        verdict = judged.get((_whole(zone, "node"), _text(zone, "name")), {})
        node = _whole(zone, "node")
        name = (f"Node {node} " if node is not None else "") + (_text(zone, "name") or "zone")
        state = _text(verdict, "state")
        said = _words()["states"].get(state, state.replace("-", " ")) if state is not None else ""
        usable = _whole(verdict, "largest_usable_order")
        usable = usable if usable is not None and 0 <= usable < 64 else None
        lists = charts.free_lists(zone, order, page_kb, usable)
        drawn = charts.zone(zone, verdict) + lists + _reserve(zone, verdict, page_kb)
        boxes.append(f"<section><h4>{escape(name)}</h4><p class='state'>{escape(said)}</p>{drawn}</section>")
    return f"<h3>Memory when the dump was printed</h3><div class='zones'>{''.join(boxes)}</div>"


def _reserve(zone: Document, verdict: Document, page_kb: int) -> str:
    said = []
    reserve = _whole(verdict, "reserve_kb")
    if reserve:
        said.append(f"{charts.size(reserve)} kept for requests that need this zone (lowmem_reserve)")
    elif not verdict and any(isinstance(entry, int) and entry for entry in _list(zone, "reserve_pages")):
        pages = ", ".join(str(entry) for entry in _list(zone, "reserve_pages")[:8])
        said.append(f"lowmem_reserve {pages} pages of {page_kb} kB")
    for name, label in (
        ("boost_kb", "boost"),
        ("reserved_highatomic_kb", "reserved for atomic requests"),
        ("free_cma_kb", "free in CMA"),
    ):
        value = _whole(zone, name)
        if value:
            said.append(f"{label} {charts.size(value)}")
    return f"<p class='state'>{escape('; '.join(said))}</p>" if said else ""


def _trace(document: Document) -> str:
    functions = [str(name) for name in _list(document, "allocfail.trace.functions")][:200]
    if not functions:
        return ""
    reliable = _list(document, "allocfail.trace.reliable")
    lines = [
        f"{'  ' if number >= len(reliable) or reliable[number] is not False else '? '}{name}"
        for number, name in enumerate(functions)
    ]
    text = escape("\n".join(lines))
    return f"<details><summary>Call trace, {len(functions)} functions</summary><pre><code>{text}</code></pre></details>"


@cache
def _articles() -> dict[str, kb.Article]:
    return {item.id: item for item in kb.load()}


def _readings(document: Document, base: str | None, read: set[str]) -> str:
    """Return the sections of the articles that apply, the first one open; of those in ``read`` the links only."""
    blocks = []
    for entry in _list(document, "allocfail.kb")[:8]:
        item = _articles().get(_text(entry, "id") or "")
        if item is None:
            continue
        match = _ANCHOR.search(_text(entry, "url") or "")
        anchors = {heading.anchor for heading in item.headings}
        anchor = match[1] if match is not None and match[1] in anchors else item.headings[0].anchor
        address = f"{base or ''}{item.id}.html#{anchor}"
        why = _text(entry, "why")
        because = f"<p class='hint'>{_shown(why)}</p>" if why else ""
        if address in read:
            name = _shown(item.title)
            blocks.append(f"<p>{name if base is None else _linked(address, name)}</p>{because}")
            continue
        read.add(address)
        blocks.append(
            f"<details class='reading'{'' if blocks else ' open'}><summary>{_shown(item.title)}</summary>{because}"
            f"{_section(item.id, anchor, base)}<p>{_whole_article(item.id, address, base)}</p></details>"
        )
    return f"<h3>What to read</h3>{''.join(blocks)}" if blocks else ""


def _linked(address: str, name: str) -> str:
    return f"<a href='{escape(address)}'>{name}</a>"


def _whole_article(identifier: str, address: str, base: str | None) -> str:
    if base is None:
        return f"The whole article: <code>allocfail kb show {escape(identifier)}</code>"
    return _linked(address, "The whole article")


@cache
def _section(identifier: str, anchor: str, base: str | None) -> str:
    """Return a section of an article for another page: without ids, and with links that lead from there."""
    item = _articles()[identifier]
    html = _ID.sub("", render_markdown(kb.section(item, anchor)))
    if base is None:
        return _OWN_LINK.sub(r"\1", html)
    return _LINK.sub(lambda match: f'href="{escape(base)}{match[1] or item.id + ".html"}{match[2] or ""}"', html)


def _original(document: Document) -> str:
    text = _text(document, "event.original")
    if text is None:
        return ""
    cut = f"\n… ({len(text) - MOST_ORIGINAL} characters more)" if len(text) > MOST_ORIGINAL else ""
    shown = escape(text[:MOST_ORIGINAL] + cut)
    return f"<details><summary>The lines of the log</summary><pre><code>{shown}</code></pre></details>"
