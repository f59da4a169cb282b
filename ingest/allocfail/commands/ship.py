"""``allocfail ship``."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import click

from allocfail.commands.cluster import connection_options, format_option, named, open_engine
from allocfail.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocfail.cluster.client import BulkResult, Engine
    from allocfail.cluster.connection import Connection
    from allocfail.cluster.ship import Item, Shipper
    from allocfail.commands.stopping import Stop
    from allocfail.decoder.options import Options
    from allocfail.logs.tail import Stream

__all__ = ["command"]


@click.command("ship")
@click.argument("files", nargs=-1, metavar="[FILE|DIRECTORY|-]…")
@connection_options
@click.option(
    "--index-name", callback=named, metavar="NAME", help="Index that takes the events [default: allocfail-events]."
)
@click.option("--data-stream", callback=named, metavar="NAME", help="Data stream that takes them instead.")
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until stopped.")
@click.option("--state", type=click.Path(dir_okay=False), metavar="FILE", help="Where --follow keeps how far it is.")
@click.option("--dead-letters", type=click.Path(dir_okay=False), metavar="FILE", help="Where refused events are kept.")
@click.option("--retry-dead-letters", is_flag=True, help="Send the events in the file of --dead-letters first.")
@click.option("--host", metavar="NAME", help="Host of logs that name none.")
@click.option("--kernel", metavar="REL", help="Kernel release, where the log does not say.")
@click.option("--year", type=click.IntRange(1990, 9999), help="Year of times that have none.")
@click.option("--timezone", default="UTC", show_default=True, help="Zone of times that have none.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@format_option
def command(  # noqa: C901, PLR0912 - a branch for each option
    *,
    where: Connection,
    files: tuple[str, ...],
    index_name: str | None,
    data_stream: str | None,
    follow: bool,
    state: str | None,
    dead_letters: str | None,
    retry_dead_letters: bool,
    host: str | None,
    output: str | None,
    **told: Any,
) -> int:
    """Decode logs and index the events.

    Shipping a log again adds what is missing, completes what the log's end had cut, and duplicates nothing. Requests
    that a busy cluster refuses are sent again for about two minutes, with --follow for as long as it takes. Exit
    status 1: a document was rejected, or the cluster could not be reached.

    \b
    Examples:
      allocfail ship /var/log/kern.log --url http://127.0.0.1:9200
      allocfail ship --follow /var/log/kern.log --url https://es:9200 --api-key @key.txt
      journalctl -k -o json -f | allocfail ship --follow - --url https://es:9200 --api-key @key.txt
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from contextlib import ExitStack
    from pathlib import Path

    from allocfail.cluster import templates
    from allocfail.cluster.deadletters import DeadLetters
    from allocfail.cluster.retry import Patience
    from allocfail.cluster.ship import Shipper
    from allocfail.commands.stopping import Stop
    from allocfail.errors import InputError

    if index_name is not None and data_stream is not None:
        raise InputError("give --index-name or --data-stream, not both")
    if not files and not retry_dead_letters:
        raise InputError("give a file, a directory, or - for standard input")
    if files.count("-") > 1:
        raise InputError("standard input can be read once")
    missing = next((name for name in files if name != "-" and not Path(name).exists()), None)
    if missing is not None and not follow:
        raise InputError(one_line(f"{missing}: no such file or directory"))
    if retry_dead_letters and dead_letters is None:
        raise InputError("--retry-dead-letters needs --dead-letters FILE")
    target = data_stream or index_name or templates.build().events_index
    letters = DeadLetters(Path(dead_letters), target) if dead_letters is not None else None
    make = _Options(told)
    make("-")  # what makes no sense is said before anything is sent

    def reject(item: Item, result: BulkResult) -> None:
        if letters is not None:
            letters.add(item, result)

    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        patience = Patience(retries=None if follow else 8, sleep=stop.sleep, say=_say, stopped=lambda: stop.asked)
        engine = stack.enter_context(open_engine(where, patience, stop))
        shipper = Shipper(engine, target, patience=patience, say=_say, reject=reject)
        try:
            if retry_dead_letters and letters is not None:
                _retry(shipper, letters)
            if follow and files:
                _follow(engine, shipper, files, make, host, state, stop)
            else:
                for name in _files(files):
                    _ship(shipper, name, make, host, stop)
                    if stop.asked:
                        break
        finally:
            done = shipper.done
            counts = {
                "indexed": done.indexed,
                "completed": done.completed,
                "already_there": done.already,
                "rejected": done.rejected,
            }
            if output == "text" or (output is None and sys.stdout.isatty()):
                click.echo(", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items()))
            else:
                click.echo(json.dumps(counts))
        if stop.interrupted:
            return 130
    return int(bool(done.rejected))


def _say(text: str) -> None:
    click.echo(f"allocfail: {one_line(text)}", err=True)


class _Options:
    """Makes the decoder's options for a log; a file's time completes dates without a year."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def __call__(self, name: str, *, growing: bool = False) -> Options:
        from dataclasses import replace

        from allocfail.commands.decode import make_options

        if not growing:
            return make_options(file=name, **self._told)
        return replace(make_options(file="-", **self._told), file=name)


def _files(names: tuple[str, ...]) -> Iterator[str]:
    """Yield every file, those of a directory by name; each is opened when its turn comes."""
    from pathlib import Path

    from allocfail.logs.tail import files_below

    for name in names:
        if name != "-" and Path(name).is_dir():
            yield from map(str, files_below(Path(name)))
        else:
            yield name


def _ship(shipper: Shipper, name: str, make: _Options, host: str | None, stop: Stop) -> None:
    """Ship one log to its end."""
    from allocfail import facts
    from allocfail.cluster.following import Following
    from allocfail.cluster.identity import Numbers
    from allocfail.cluster.items import item
    from allocfail.logs.events import Decoder
    from allocfail.logs.inputs import open_input
    from allocfail.logs.scan import Needles, decode_chunks

    if name == "-" and (stream := _text_stream(stop)) is not None:
        # Somebody may be following it: nothing is held for longer than a second.
        Following(["-"], shipper, None, options=make, host=host, stream=stream, say=_say).run(stop)
        return
    chunks = _until(stop, open_input(name, "ship"))
    options = make(name)
    numbers = Numbers()
    try:
        for event in decode_chunks(chunks, lambda: Decoder(options), Needles.of(facts.load()["needles"])):
            shipper.put(item(event, numbers, f"{name}: the event at byte {event.offset}", host))
    except _StoppedError:
        _say(f"{name}: was not read to its end: run the command again to add the rest")
    shipper.flush()


class _StoppedError(Exception):
    """It is time to stop in the middle of a log."""


def _until(stop: Stop, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield them until it is time to stop; an event that this would cut is none."""
    for chunk in chunks:
        if stop.asked:
            raise _StoppedError
        yield chunk


def _text_stream(stop: Stop) -> Stream | None:
    """Return standard input where it is a pipe or the like; None for a file, and for what begins as an archive does."""
    from allocfail.errors import InputError
    from allocfail.logs.inputs import packing
    from allocfail.logs.streams import HEAD
    from allocfail.logs.tail import Stream

    if sys.stdin is None:
        raise InputError("standard input: is closed")
    reader = sys.stdin.buffer
    if stat.S_ISREG(os.fstat(0).st_mode) or not isinstance(reader, io.BufferedReader):
        return None
    stream = Stream(0)
    while not stream.wait(0.25):
        if stop.asked:
            return stream
    if packing(head := reader.peek(HEAD)) is not None:
        return None
    return Stream(0, ahead=reader.read1(len(head)))


def _follow(  # noqa: PLR0917 - all of them are the command's own
    engine: Engine,
    shipper: Shipper,
    files: tuple[str, ...],
    make: _Options,
    host: str | None,
    state: str | None,
    stop: Stop,
) -> None:
    from pathlib import Path

    from allocfail.cluster.checkpoint import Checkpoint, default_path
    from allocfail.cluster.following import Following

    names = [name if name == "-" else str(Path(name).resolve()) for name in files]
    path = Path(state) if state is not None else default_path("ship", engine.where.url, shipper.target, *sorted(names))
    Following(files, shipper, Checkpoint(path), options=lambda name: make(name, growing=True), host=host, say=_say).run(
        stop
    )


def _retry(shipper: Shipper, letters: Any) -> None:
    """Send what had been refused; what is refused again is in the file again."""
    aside: Path | None
    while (aside := letters.take()) is not None:
        shipper.send(letters.items(aside))
        aside.unlink()
        if letters.path.exists():
            return  # refused again
