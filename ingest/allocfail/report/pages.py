"""The pages that are made for each request: this event, a GFP mask, a value of vm.zone_reclaim_mode.

None needs a script. What a form sends is decoded in memory and forgotten.
"""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.articles import zone_reclaim
from allocfail.articles.lookup import documents
from allocfail.articles.serve import Answer, Request
from allocfail.articles.shell import Page, escape
from allocfail.articles.site import setting, table
from allocfail.decoder import gfp
from allocfail.decoder.options import Options
from allocfail.errors import InputError, NotFoundError
from allocfail.report import html

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST_EVENTS", "made"]

#: Events of one log that a page shows; the form says when there were more.
MOST_EVENTS = 500


def made() -> dict[str, Callable[[Request], Answer]]:
    """Return the pages by name, as :class:`allocfail.articles.serve.Server` takes them."""
    return {"event.html": _event, "gfp.html": _gfp, "zone-reclaim.html": _zone_reclaim}


def _page(here: str, title: str, summary: str, main: str, *, layout: str = "home-page") -> bytes:
    return Page(
        title=f"{title} - allocfail",
        summary=summary,
        here=here,
        layout=layout,
        main=f'<main id="content"><h1>{escape(title)}</h1>{main}</main>',
    ).encode()


def _wrong(error: Exception) -> str:
    return f'<p class="error" role="alert">{escape(str(error))}</p>'


def _input(name: str, label: str, value: str, example: str) -> str:
    return (
        f'<div><label for="{name}">{label}</label><input id="{name}" name="{name}" value="{escape(value)}" '
        f'placeholder="{escape(example)}" autocomplete="off" spellcheck="false"></div>'
    )


def _event(request: Request) -> Answer:
    """Decode a log or documents and show the events; without any, the form."""
    title, summary = "Read a log", "Paste a kernel log and see what failed, why, and what to do."
    log = request.body.decode("utf-8", "replace") or request.fields.get("log", "")
    kernel = request.fields.get("kernel", "").strip()
    form = _event_form(kernel)
    if not log.strip():
        return Answer(_page("event.html", title, summary, form))
    try:
        found, more = _decoded(log, _release(kernel))
    except (InputError, NotFoundError) as error:
        answer = _page("event.html", title, summary, _wrong(error) + form)
        return Answer(answer, HTTPStatus.UNPROCESSABLE_ENTITY)
    again = f"<details><summary>Read another log</summary>{form}</details>"
    said = f"<p>{more} more events are not shown.</p>" if more else ""
    heading = str(html.title(found[0])) if len(found) == 1 else f"{len(found) + more} memory-allocation failures"
    return Answer(_page("event.html", heading, summary, html.events(found) + said + again, layout="event-page"))


def _release(text: str) -> str | None:
    """Return a kernel release that was typed, None for none; raises :class:`InputError` for what is no release."""
    if text and gfp.parse_release(text) is None:
        raise InputError(f"not a kernel release: {text[:60]}")
    return text or None


def _decoded(log: str, kernel: str | None) -> tuple[list[dict[str, Any]], int]:
    """Return the first events of a log or of documents, and how many more there are."""
    found: list[dict[str, Any]] = []
    more = 0
    for document in documents(io.BytesIO(log.encode("utf-8", "replace")), Options(kernel=kernel)):
        if len(found) < MOST_EVENTS:
            found.append(document)
        else:
            more += 1
    if not found:
        raise NotFoundError(
            "No memory-allocation failure in this text. It has to hold the kernel's own lines, at least the one with "
            "'page allocation failure' or 'invoked oom-killer'."
        )
    return found, more


def _event_form(kernel: str) -> str:
    return (
        '<form class="form" action="event.html" method="post"><label for="log">Lines of a kernel log, or documents of '
        'an index as JSON</label><textarea id="log" name="log" rows="12" required spellcheck="false" '
        'placeholder="kernel: swapper: page allocation failure. order:1, mode:0x20"></textarea>'
        f'<div class="row">{_input("kernel", "Kernel, where the log does not say it", kernel, "5.14.0-427.el9")}'
        '<button>Decode</button></div><p class="hint">Any form will do: syslog, dmesg, the journal, Docker, lines that '
        "a web page or a mail broke. Nothing is stored.</p></form>"
    )


def _gfp(request: Request) -> Answer:
    """Decode a mask."""
    title, summary = "GFP masks", "What the mode of an allocation failure means, by kernel."
    mask, kernel = request.fields.get("mask", "").strip(), request.fields.get("kernel", "").strip()
    form = (
        '<form class="form" action="gfp.html"><div class="row">'
        f"{_input('mask', 'Mask', mask, '0x20')}"
        f"{_input('kernel', 'Kernel (empty: every reading)', kernel, '2.6.32-431.el6')}"
        "<button>Decode</button></div></form>"
        '<p class="hint">What the flags mean: <a href="gfp-flags.html">GFP flags and masks</a>.</p>'
    )
    if not mask:
        return Answer(_page("gfp.html", title, summary, form))
    try:
        decoded = gfp.decode(hex(gfp.parse_mask(mask[:40])), release=_release(kernel))
    except InputError as error:
        return Answer(_page("gfp.html", title, summary, _wrong(error) + form), HTTPStatus.UNPROCESSABLE_ENTITY)
    return Answer(_page("gfp.html", title, summary, form + _reading(decoded, kernel)))


def _reading(decoded: gfp.Gfp, kernel: str) -> str:
    out = ""
    if kernel or not decoded.candidates:
        meanings: dict[str, str] = facts.load()["gfp_meanings"]["meanings"]
        sleeps = {True: "It may sleep.", False: "It may not sleep.", None: "Whether it may sleep depends."}
        source = decoded.table or ""
        if source.endswith(gfp.NEIGHBOUR):
            source = f"{source.removesuffix(gfp.NEIGHBOUR)} (the nearest kernel whose source was read)"
        rows = [(_code(flag), escape(meanings.get(flag, ""))) for flag in decoded.flags]
        if decoded.unknown_bits is not None:
            rows.append((_code(decoded.unknown_bits), "bits that this kernel does not know"))
        out += (
            f"<h2>{escape(decoded.mask)} = {escape(decoded.name or 'no flag at all')}</h2>"
            f"<p><strong>{sleeps[decoded.may_sleep]}</strong> Table: {escape(source)}.</p>"
            f"{table(('Flag', 'Meaning'), rows)}"
        )
    if decoded.candidates:
        lead = "Build options make a difference" if kernel else "It means different things on different kernels"
        readings: list[tuple[str, ...]] = [
            (
                escape(reading.releases),
                _code(reading.name or "no flag"),
                "yes" if reading.may_sleep else "no",
                escape(reading.unknown_bits or ""),
            )
            for reading in decoded.candidates
        ]
        columns: tuple[str, ...] = ("Kernels", "Reads as", "May sleep", "Unknown bits")
        if not any(reading.unknown_bits for reading in decoded.candidates):
            columns, readings = columns[:-1], [row[:-1] for row in readings]
        out += f"<h2>{lead}</h2>{table(columns, readings)}"
    return out


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _zone_reclaim(request: Request) -> Answer:
    """Take a value of vm.zone_reclaim_mode apart; the bits may be ticked, or the number written."""
    title, summary = (
        "vm.zone_reclaim_mode",
        "What a value of vm.zone_reclaim_mode does, bit by bit and kernel by kernel.",
    )
    fields = request.fields
    kernel = fields.get("kernel", "").strip()
    try:
        value = zone_reclaim.parse_value(fields["value"].strip()) if fields.get("value", "").strip() else None
        if value is None and any(name in fields for name in ("bit1", "bit2", "bit4")):
            value = sum(bit for bit in (1, 2, 4) if f"bit{bit}" in fields)
        form = _setting_form(value, kernel)
        if value is None:
            return Answer(_page("zone-reclaim.html", title, summary, form))
        found = zone_reclaim.explain(value, kernel) if kernel else zone_reclaim.explain_all(value)
    except (InputError, NotFoundError) as error:
        answer = _page("zone-reclaim.html", title, summary, _wrong(error) + _setting_form(None, kernel))
        return Answer(answer, HTTPStatus.UNPROCESSABLE_ENTITY)
    return Answer(_page("zone-reclaim.html", title, summary, form + setting(found)))


def _setting_form(value: int | None, kernel: str) -> str:
    """Return the form: bits to tick, or a number to write."""
    ticks = ""
    for bit, text in ((1, "zone reclaim on"), (2, "write dirty pages out"), (4, "take mapped pages too")):
        checked = " checked" if value is not None and value & bit else ""
        ticks += f'<label><input type="checkbox" name="bit{bit}" value="1"{checked}> {bit}: {text}</label>'
    return (
        '<form class="form" action="zone-reclaim.html"><fieldset class="ticks"><legend>Bits, as most kernels have them'
        f'</legend>{ticks}</fieldset><div class="row">{_input("value", "Or the value", "", "0 to 7")}'
        f"{_input('kernel', 'Kernel (empty: every reading)', kernel, '5.8')}<button>Take apart</button></div></form>"
        '<p class="hint">When it can help, and when not: <a href="zone-reclaim-mode.html">the article</a>. For a '
        "request that may not sleep (<code>GFP_ATOMIC</code>) no value does anything.</p>"
    )
