"""``allocfail gfp``: a GFP mask decoded."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from allocfail import facts
from allocfail.decoder import gfp
from allocfail.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["command"]

_SLEEP = {True: "yes: it may wait for reclaim", False: "no: it cannot wait for reclaim", None: "depends on the kernel"}


@click.command(
    short_help="Decode a GFP mask as of a kernel release.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("mask")
@click.option("--kernel", metavar="REL", help="Kernel release, as uname -r prints it.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["json", "text"]),
    help="Default: text on a terminal, json (one line) off one.",
)
def command(mask: str, kernel: str | None, output: str | None) -> None:
    """Say which flags MASK (hex, as in mode:0x20 or gfp_mask=0x20) stands for.

    The bits moved many times, so the answer depends on the kernel: without --kernel every
    distinct reading is shown, with the releases it holds for. Exits 1 where MASK has a bit
    that the kernel (without --kernel: every kernel) does not know.

    \b
    Example:
      allocfail gfp 0x20 --kernel 2.6.32-431.el6.x86_64
      allocfail gfp 0xcc0
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    gfp.parse_mask(mask)
    if kernel is not None and gfp.parse_release(kernel) is None:
        raise InputError(f"not a kernel release, such as 5.14.0-427.el9.x86_64: {ascii(kernel[:60])[1:-1]}")
    decoded = gfp.decode(mask, release=kernel)
    if output == "json" or (output is None and not sys.stdout.isatty()):
        click.echo(json.dumps(_document(decoded, every_reading=kernel is None)))
    else:
        _print(decoded, kernel_given=kernel is not None)
    unknown = [decoded.unknown_bits]
    if kernel is None and decoded.candidates:
        unknown = [reading.unknown_bits for reading in decoded.candidates]
    if all(unknown):
        sys.exit(1)


def _document(decoded: gfp.Gfp, *, every_reading: bool) -> dict[str, Any]:
    """Return the mask decoded, with the keys of the event's ``allocfail.gfp`` and none of the main ones left out."""
    document: dict[str, Any] = dict.fromkeys(("mask", "flags", "name", "table", "unknown_bits", "may_sleep"))
    document |= decoded.as_document()
    if every_reading and "candidates" not in document:
        only = {
            key: document[key] for key in ("flags", "may_sleep", "name", "unknown_bits") if document[key] is not None
        }
        document["candidates"] = [{"releases": decoded.table, **only}]
    return document


def _print(decoded: gfp.Gfp, *, kernel_given: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if kernel_given or not decoded.candidates:
        console.print(_flags_table(decoded))
    else:
        console.print(f"{decoded.mask} means different things on different kernels", markup=False)
    if decoded.candidates:
        if kernel_given:
            console.print("\nThat is the plain build; build options of this kernel make a difference:", markup=False)
        console.print(_readings_table(decoded.candidates))
    if not kernel_given and decoded.candidates:
        console.print("State the release with --kernel to have one answer.", markup=False)


def _flags_table(decoded: gfp.Gfp) -> Table:
    from rich.table import Table
    from rich.text import Text

    meanings: dict[str, str] = facts.load()["gfp_meanings"]["meanings"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(decoded.mask, Text(decoded.name or "no flag at all", style="bold"))
    for flag in decoded.flags:
        table.add_row(f"  {flag}", Text(meanings.get(flag, "")))
    if decoded.unknown_bits is not None:
        table.add_row(f"  {decoded.unknown_bits}", Text("bits that this kernel does not know", style="red"))
    table.add_row("may sleep", _SLEEP[decoded.may_sleep])
    label = decoded.table or ""
    table.add_row("table", Text(label))
    if label.endswith(gfp.NEIGHBOUR):
        table.add_row("", "the nearest kernel whose source was read; this one's own was not")
    return table


def _readings_table(readings: tuple[gfp.Reading, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(pad_edge=False)
    table.add_column("kernels", overflow="fold", max_width=40)
    table.add_column("reads as", overflow="fold")
    table.add_column("may sleep")
    table.add_column("unknown", overflow="fold")
    for reading in readings:
        table.add_row(
            Text(reading.releases),
            Text.assemble(
                (reading.name or "no flag at all").replace("|", " | "),
                ("\n" + " ".join(flag.removeprefix("__GFP_") for flag in reading.flags), "dim"),
            ),
            "yes" if reading.may_sleep else "no",
            Text(reading.unknown_bits or "", style="red"),
        )
    return table
