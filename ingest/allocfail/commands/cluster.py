"""What the commands that talk to a cluster share: options, and how changes are told."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from allocfail.cluster.engine import Connection, Engine
    from allocfail.cluster.install import Change, Wanted

__all__ = ["connection_options", "format_option", "open_engine", "tell", "wanted_content"]

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
        from allocfail.cluster.engine import connection

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


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format``: text on a terminal, NDJSON elsewhere, unless said otherwise."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["text", "ndjson"]),
        help="Text on a terminal and NDJSON elsewhere, unless given.",
    )(command)


def open_engine(where: Connection) -> Engine:
    """Connect, and say on stderr when nobody checks who answers."""
    from allocfail.cluster.engine import connect

    if where.insecure and where.url.startswith("https:"):
        click.echo("allocfail: --insecure: whoever answers is trusted", err=True)
    return connect(where)


def wanted_content(product: str, kb_url: str | None) -> Wanted:
    """Return what is installed into a cluster of ``product``; ``kb_url`` is where the articles can be read."""
    from allocfail.articles import articles as kb
    from allocfail.cluster.install import Wanted
    from allocfail.painless import pipelines

    base = kb.base_url(kb_url)
    return Wanted(pipelines.build(product, kb_url=base), [kb.document(article, base) for article in kb.load()])


def tell(
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
                    _tell_text(change, diffs=diffs)
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
}


def _tell_text(change: Change, *, diffs: bool) -> None:
    note = f"  ({change.note})" if change.note else ""
    line = f"{change.kind} {change.id}{note}"
    line = "".join(char if char.isprintable() else "?" for char in line)  # names in a cluster may hold anything
    click.echo(f"{click.style(f'{change.action:<9}', fg=_COLOURS.get(change.action))} {line}")
    if diffs and change.diff:
        for row in change.diff.splitlines():
            colour = "green" if row.startswith("+") else "red" if row.startswith("-") else None
            click.echo(f"    {click.style(row, fg=colour)}")
