"""``allocfail zone-reclaim``: take a value of vm.zone_reclaim_mode apart."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

__all__ = ["command"]


# Unknown options are let through so that "-1" is refused as a value, in one line.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("value")
@click.option("--kernel", metavar="REL", help="Kernel release, such as 5.10.0-8-amd64; without it, every reading.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), help="Default: text on a terminal, else json.")
@click.pass_context
def command(context: click.Context, value: str, kernel: str | None, form: str | None) -> None:
    """Take VALUE of vm.zone_reclaim_mode apart: its bits, what each does and costs.

    Exits 1 where VALUE has a bit that the kernel (without --kernel: a current one) does not know.

    \b
    Example:
      allocfail zone-reclaim 3 --kernel 2.6.32-431.el6.x86_64
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles import zone_reclaim

    number = zone_reclaim.parse_value(value)
    document = zone_reclaim.explain(number, kernel) if kernel is not None else zone_reclaim.explain_all(number)
    if form == "text" or (form is None and sys.stdout.isatty()):
        _report(document)
    else:
        click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    if zone_reclaim.unknown(document):
        context.exit(1)


def _report(document: dict[str, Any]) -> None:
    readings = document.get("readings", [document])
    several = "readings" in document
    for reading in readings:
        kernel = reading["releases"] if several else document["kernel"]
        click.echo(click.style(f"vm.zone_reclaim_mode = {document['value']} on {kernel}", bold=True))
        for bit in reading["bits"]:
            click.echo(f"  {bit['value']}  {bit['name']}: {bit['does']}")
            click.echo(f"     costs: {bit['costs']}")
        for note in reading["notes"]:
            click.echo(f"  - {note}")
        if several:
            click.echo()
    lead = "" if several else "  "
    for note in document["notes"] if several else []:
        click.echo(f"- {note}")
    if "default" in document:
        click.echo(f"{lead}- after boot: {document['default']}")
