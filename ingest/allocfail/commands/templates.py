"""``allocfail templates``: the component and index templates as the JSON an engine takes."""

from __future__ import annotations

import click

from allocfail.commands.cluster import named
from allocfail.commands.files import engine_options, write

__all__ = ["command"]


@click.group()
def command() -> None:
    """Build the component and index templates."""


@command.command()
@engine_options
@click.option("--index-name", callback=named, metavar="NAME", help="Index of the events [default: allocfail-events].")
@click.option(
    "--data-stream", callback=named, metavar="NAME", help="Data stream of them [default: logs-allocfail.event-default]."
)
@click.option("--plain", is_flag=True, help="No mapping types but keyword and text: for a build without x-pack.")
def build(
    *,
    engine: str,
    version: str | None,
    output: str | None,
    index_name: str | None,
    data_stream: str | None,
    plain: bool,
) -> None:
    """Build the templates for an engine, each in a file named after the path it is put to.

    Put the component templates first: the index templates are composed of them.

    \b
    Example:
      allocfail templates build --engine elasticsearch -o build/
      curl -X PUT localhost:9200/_component_template/allocfail-fields \\
        -H 'Content-Type: application/json' -d @build/_component_template/allocfail-fields.json
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster import templates
    from allocfail.painless.pipelines import dialect

    missing = templates.mapping_types() if plain else dialect(engine, version).missing_types
    made = templates.build(missing, index=index_name, stream=data_stream)
    bodies = {f"_component_template/{name}": body for name, body in made.components.items()}
    bodies |= {f"_index_template/{name}": body for name, body in made.index_templates.items()}
    write(bodies, output, "templates")
