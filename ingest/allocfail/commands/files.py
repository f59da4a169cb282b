"""What the commands share that write files for those who load them by their own means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["engine_options", "write"]


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--engine``, ``--for`` (as ``version``) and ``-o``."""
    for option in reversed(
        (
            click.option(
                "--engine", type=click.Choice(["elasticsearch", "opensearch"]), required=True, help="Who takes it."
            ),
            click.option(
                "--for", "version", metavar="VERSION", help="Its version, such as 7.10 [default: the newest]."
            ),
            click.option("-o", "--output", metavar="DIR", help="Folder for a file each; without it, one JSON object."),
        )
    ):
        command = option(command)
    return command


def write(bodies: Mapping[str, Mapping[str, Any]], output: str | None, what: str) -> None:
    """Write each body into ``NAME.json`` below the folder ``output``, or all of them to standard output.

    A name may have folders in it. ``what`` is said of them on stderr. Raises :class:`InputError` where a file cannot be
    written.
    """
    if output is None:
        click.echo(json.dumps(bodies, ensure_ascii=False))
        return
    folder = Path(output)
    try:
        for name, body in bodies.items():
            file = folder / f"{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{len(bodies)} {what} in {folder}", err=True)
