"""``allocfail decode``: logs in, events out."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from allocfail.errors import InputError
from allocfail.terminal import one_line, say_if_waiting
from allocfail.urls import URL_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.logs.events import Event, Options, TellingDecoder, Unread


#: JSON escapes the controls below a blank itself.
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


#: What begins the rendering of a line that was not read: no event's does.
_UNREAD = b"\0unread "


def dumps(document: dict[str, Any]) -> str:
    """Return a document as one line of JSON; what UTF-8 can't carry, or a terminal would obey, is escaped."""
    text = json.dumps(document, separators=(",", ":"))
    if "\\u" in text:
        # ASCII is faster to write, but a name in another script is better read as it is.
        readable = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        try:
            readable.encode()
        except UnicodeEncodeError:
            pass
        else:
            text = readable
    if text.isprintable():
        return text
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


#: No log of Linux is older.
_FIRST_YEAR = 1990
#: Events that one HTML file shows; a browser has to hold them.
_MOST_IN_HTML = 2000


def common_options(command: Any) -> Any:
    """Add the options that complete what a log does not say."""
    for option in reversed(
        (
            click.option("--kernel", metavar="REL", help="Kernel release, where the log does not state it."),
            click.option("--year", type=click.IntRange(_FIRST_YEAR, 9999), help="Year of syslog times that have none."),
            click.option("--timezone", default="UTC", show_default=True, help="Zone of times that name none."),
            click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL]."),
        )
    ):
        command = option(command)
    return command


def make_options(
    *, kernel: str | None, year: int | None, timezone: str, kb_url: str | None, file: str | None = None
) -> Options:
    """Return the decoder's options; raises :class:`InputError` for what makes no sense."""
    from allocfail.decoder.options import Options
    from allocfail.urls import base_url

    if kernel is not None:
        from allocfail.decoder.gfp import parse_release

        if parse_release(kernel) is None:
            raise InputError(f"not a kernel release: {kernel}")
    if timezone != "UTC":
        from allocfail.decoder import kit

        try:
            kit.zone(timezone)
        except ValueError:
            raise InputError(f"unknown time zone: {timezone!r} (use a name such as Europe/Prague, or +02:00)") from None
    reference = None
    if file not in {None, "-"} and file is not None:
        reference = Path(file).stat().st_mtime_ns // 1_000_000
    return Options(kernel=kernel, year=year, timezone=timezone, reference=reference, file=file, kb_url=base_url(kb_url))


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "text", "html"]),
    help="Default: text on a terminal. html: one file with pictures, for a browser or a ticket.",
)
@click.option("--explain-fingerprint", is_flag=True, help="Say of every frame which rule kept or dropped it.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes for a large file; default: one a processor.")
@common_options
def command(  # noqa: C901, PLR0912 - a branch for each option
    files: tuple[str, ...], form: str | None, *, explain_fingerprint: bool, workers: int | None, **told: Any
) -> None:
    """Decode logs: one JSON document per event, or a readable report with equal events as one.

    FILE is a log in any form (syslog, dmesg, journal, Docker, /dev/kmsg, mail; gzip, xz, lzma, zstd), - is standard
    input. Exit status: 0 events found, 1 none, 2 bad input.

    \b
    Example:
      allocfail decode --format text /var/log/messages
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    out = sys.stdout.buffer
    form = form or ("text" if sys.stdout.isatty() else "ndjson")
    if form == "html" and explain_fingerprint:
        raise InputError("--explain-fingerprint has no html")
    report = None
    if form == "text" and not explain_fingerprint:
        from allocfail.report.reporter import Reporter

        report = Reporter(out, served=told["kb_url"] is not None or URL_VARIABLE in os.environ, live=_followed(files))
        form = "ndjson"
    found = 0
    failed = False
    documents: list[dict[str, Any]] = []
    for file in files or ("-",):
        say_if_waiting(file == "-" and sys.stdin is not None and sys.stdin.isatty())
        try:
            options = make_options(file=file, **told)
            unread: list[int] = []
            for text in _rendered(file, options, form, explain=explain_fingerprint, workers=workers):
                if text.startswith(_UNREAD):
                    unread.append(int(text.removeprefix(_UNREAD)))
                    continue
                found += 1
                if form == "html":
                    if found <= _MOST_IN_HTML:
                        documents.append(json.loads(text))
                    continue
                if report is not None:
                    report.add(json.loads(text))
                    continue
                out.write(text)
                if file == "-":
                    out.flush()  # somebody may be following a live log
            if unread:
                _tell(file, unread)
        except (InputError, OSError) as error:
            if len(files) < 2:
                raise
            said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            click.echo(f"allocfail: {one_line(said)}", err=True)
            failed = True
        out.flush()
    if report is not None:
        report.close()
    if form == "html":
        _write_html(documents, found, told["kb_url"])
    if failed:
        sys.exit(InputError.exit_code)
    if not found:
        click.echo("allocfail: no event found", err=True)
        sys.exit(1)


def _tell(file: str, unread: list[int]) -> None:
    """Say how much of a log looks like an event and was not read as one: nobody must believe in silence."""
    name = "standard input" if file == "-" else file if file.isprintable() else repr(file)
    lines = "1 line has" if len(unread) == 1 else f"{len(unread)} lines have"
    first = "it" if len(unread) == 1 else "the first"
    click.echo(
        f"allocfail: {name}: {lines} the words of a header and could not be read as one;"
        f" {first} begins at byte {min(unread)}",
        err=True,
    )


def _followed(files: tuple[str, ...]) -> bool:
    """Whether the log may go on for hours: what is found has to be printed when it is found."""
    if files and "-" not in files:
        return False
    try:
        return not stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _write_html(documents: list[dict[str, Any]], found: int, kb_url: str | None) -> None:
    """Write the one file about every event; ``found`` may be more than there are documents."""
    import os

    from allocfail.report import html
    from allocfail.urls import URL_VARIABLE, base_url

    if documents:
        served = kb_url or os.environ.get(URL_VARIABLE)
        sys.stdout.buffer.write(html.standalone(documents, base_url(kb_url) if served else None))
    if found > len(documents):
        click.echo(f"allocfail: the file shows the first {len(documents)} of {found} events", err=True)


def _rendered(file: str, options: Options, form: str, *, explain: bool, workers: int | None) -> Iterator[bytes]:
    """Yield what every event of a file looks like; decoder and rendering run where the scanner wants them."""
    from allocfail import facts
    from allocfail.logs import scan
    from allocfail.logs.progress import Bar

    def decoder() -> TellingDecoder:
        import gc

        from allocfail.logs.events import TellingDecoder

        # An event is some thousand objects without a cycle: collecting less often saves a tenth of the time.
        gc.set_threshold(200_000, 100, 100)

        return TellingDecoder(options)

    def render(event: Event | Unread) -> bytes:
        from allocfail.logs.events import Unread

        if isinstance(event, Unread):
            return _UNREAD + str(event.offset).encode()
        if explain:
            return _explained(event, form).encode("utf-8", "replace")
        return (dumps(event.document) + "\n").encode()

    needles = scan.Needles.of(facts.load()["needles"])
    with Bar(file) as progress:
        yield from scan.decode(file, decoder, render, needles, workers=workers, progress=progress)


def _explained(event: Event, form: str) -> str:
    from allocfail.decoder.event import explain
    from allocfail.terminal import printable

    frames = explain(event.event)
    mark = event.document["allocfail"]["fingerprint"]
    if form == "ndjson":
        return dumps({"fingerprint": mark, "frames": frames}) + "\n"
    lines = [f"{mark['id']}  {printable(mark['text'])}"]
    for frame in frames:
        rule = f"dropped by rule {frame['rule']}" if frame["rule"] is not None else "kept"
        lines.append(f"  {rule:<18} {'  ' if frame['reliable'] else '? '}{printable(frame['function'])}")
    return "\n".join(lines) + "\n\n"
