"""What the commands that talk to a cluster share: options, and how changes are told."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from allocfail.cluster.client import Engine
    from allocfail.cluster.connection import Connection
    from allocfail.cluster.retry import Patience
    from allocfail.cluster.steps import Change
    from allocfail.cluster.wanted import Wanted
    from allocfail.commands.stopping import Stop

__all__ = [
    "EVENT_FIELDS",
    "connection_options",
    "content_for",
    "format_option",
    "kb_url_option",
    "named",
    "only_fields",
    "only_option",
    "open_engine",
    "print_changes",
]

#: Top-level fields of an event.
EVENT_FIELDS = ("@timestamp", "allocfail", "error", "event", "host", "log", "process", "related", "rule", "tags")


def named(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse an empty name, as an unset variable gives it: a cluster reads it as every index there is."""
    for one in value if isinstance(value, tuple) else (value,):
        if one is not None and not one.strip():
            raise click.BadParameter("a name is needed, and this one is empty", context, parameter)
    return value


_OPTIONS = (
    click.option("--url", required=True, envvar="ALLOCFAIL_URL", help="The cluster, such as https://HOST:9200."),
    click.option("--api-key", metavar="KEY|@FILE", help="API key [env: ALLOCFAIL_API_KEY]."),
    click.option("--user", metavar="NAME|@FILE", help="User [env: ALLOCFAIL_USER]."),
    click.option("--password", metavar="WORD|@FILE", help="Password [env: ALLOCFAIL_PASSWORD]."),
    click.option("--ca-cert", metavar="FILE", help="The authority that signed the server's certificate (PEM)."),
    click.option("--cert-fingerprint", metavar="SHA256", help="Trust the certificate with this fingerprint only."),
    click.option("--insecure", is_flag=True, help="Trust any certificate."),
    click.option("--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds a request."),
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a cluster is and how to get in; they arrive as ``where``, a Connection."""
    from functools import wraps

    @wraps(command)
    def with_connection(
        *,
        url: str,
        api_key: str | None,
        user: str | None,
        password: str | None,
        ca_cert: str | None,
        cert_fingerprint: str | None,
        insecure: bool,
        timeout: float,
        **rest: Any,
    ) -> Any:
        from allocfail.cluster.connection import connection

        where = connection(
            url,
            api_key=api_key,
            user=user,
            password=password,
            ca_cert=ca_cert,
            cert_fingerprint=cert_fingerprint,
            insecure=insecure,
            timeout=timeout,
        )
        return command(where=where, **rest)

    for option in reversed(_OPTIONS):
        with_connection = option(with_connection)
    return with_connection


def kb_url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--kb-url``."""
    return click.option(
        "--kb-url",
        metavar="URL",
        help="Where the articles are: below it as pages, or with {id} or {section} in it [env: ALLOCFAIL_KB_URL].",
    )(command)


def only_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--only``."""
    return click.option(
        "--only",
        multiple=True,
        metavar="FIELD",
        help="Write these top-level fields alone; `--only allocfail`: nothing beside allocfail.*; `all`: as before.",
    )(command)


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format``: text on a terminal, NDJSON elsewhere, unless said otherwise."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["text", "ndjson"]),
        help="Text on a terminal and NDJSON elsewhere, unless given.",
    )(command)


def open_engine(where: Connection, patience: Patience | None = None, stop: Stop | None = None) -> Engine:
    """Connect, and say on stderr when nobody checks who answers.

    With ``patience`` a cluster that answers and is not ready yet is waited for; where nothing answers, the address may
    be wrong, and that is said at once. ``stop`` ends waiting for answers.
    """
    from contextlib import nullcontext

    from allocfail.cluster.client import connect
    from allocfail.cluster.retry import is_busy

    if where.insecure and where.url.startswith("https:"):
        click.echo("allocfail: --insecure: whoever answers is trusted", err=True)
    waiting = stop.waiting if stop is not None else nullcontext

    def ask() -> Engine:
        return connect(where, waiting)

    return ask() if patience is None else patience.insist(ask, may_pass=is_busy)


def content_for(engine: Engine, kb_url: str | None, only: tuple[str, ...] = ()) -> Wanted:
    """Return what is installed into a cluster: with the address and the fields given, else those it remembers.

    ``kb_url`` is where the articles can be read; where it is None, ``ALLOCFAIL_KB_URL`` is. ``only`` names top-level
    fields, ``all`` for all of them.
    """
    from allocfail.cluster.record import read_record
    from allocfail.cluster.wanted import wanted_content
    from allocfail.urls import base_url, given_url

    known = read_record(engine)
    given = given_url(kb_url)
    address = base_url(given) if given else known.kb_url
    return wanted_content(engine.product, address, only_fields(only) if only else known.only)


def only_fields(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the top-level fields that ``--only`` names, ``allocfail`` always among them; empty for ``all``."""
    names = {name.strip() for one in given for name in one.split(",")} - {""}
    if not names or "all" in names:
        return ()
    if unknown := names - set(EVENT_FIELDS):
        raise InputError(f"--only: an event has no field {min(unknown)}; there are {', '.join(EVENT_FIELDS)}")
    return tuple(sorted({"allocfail", *names}))


def print_changes(
    changes: Iterable[Change],
    output: str | None,
    *,
    dry_run: bool = False,
    diffs: bool = False,
    quiet: bool = False,
) -> list[Change]:
    """Print changes as they happen and a count at the end; return them.

    ``diffs`` prints what differs; ``quiet`` leaves out, in text, what did not change. When a change fails, those before
    it have been printed, and the count is too.
    """
    text = output == "text" or (output is None and sys.stdout.isatty())
    seen: list[Change] = []
    try:
        for change in changes:
            seen.append(change)
            if text:
                if not (quiet and change.action == "unchanged"):
                    _print_change(change, dry_run=dry_run, diffs=diffs)
            else:
                row: dict[str, Any] = {"kind": change.kind, "id": change.id, "action": change.action}
                if change.note:
                    row["note"] = change.note
                if dry_run:
                    row["dry_run"] = True
                if diffs and change.diff:
                    row["diff"] = change.diff
                click.echo(json.dumps(row))
    except AllocfailError:
        if seen:
            click.echo(f"stopped after: {_count(seen)}", err=True)
        raise
    click.echo(f"{'would be: ' if dry_run else ''}{_count(seen) or 'nothing to do'}", err=True)
    return seen


def _count(changes: Iterable[Change]) -> str:
    return ", ".join(f"{number} {action}" for action, number in Counter(change.action for change in changes).items())


_COLOURS = {
    "created": "green",
    "updated": "yellow",
    "removed": "yellow",
    "left": "red",
    "missing": "red",
    "outdated": "yellow",
    "changed": "yellow",
    "foreign": "red",
    "failed": "red",
    "decoded": "green",
    "refuses": "red",
    "taken": "green",
    "unset": "yellow",
}
#: What a dry run only says.
_DONE = frozenset({"created", "updated", "removed", "left", "taken"})


def _print_change(change: Change, *, dry_run: bool, diffs: bool) -> None:
    note = f"  ({change.note})" if change.note else ""
    line = f"{change.kind} {change.id}{note}"
    line = "".join(char if char.isprintable() else "?" for char in line)  # names in a cluster may hold anything
    action = f"would be {change.action}" if dry_run and change.action in _DONE else change.action
    click.echo(f"{click.style(f'{action:<{18 if dry_run else 9}}', fg=_COLOURS.get(change.action))} {line}")
    if diffs and change.diff:
        for row in change.diff.splitlines():
            colour = "green" if row.startswith("+") else "red" if row.startswith("-") else None
            click.echo(f"    {click.style(row, fg=colour)}")
