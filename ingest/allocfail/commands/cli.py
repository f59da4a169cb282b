"""The command line: finds the command asked for and imports nothing else."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from allocfail.errors import AllocfailError
from allocfail.terminal import one_line, printable, take_any_encoding

__all__ = ["COMMANDS", "cli", "main"]

#: Every command: the module below ``allocfail.commands`` whose ``command`` it is, and its line in ``--help``.
COMMANDS: dict[str, tuple[str, str]] = {
    "backfill": ("backfill", "Send what was indexed whole through the pipeline, inside the cluster."),
    "completion": ("completion", "Print what a shell needs to complete the command line."),
    "decode": ("decode", "Decode logs: one JSON document, or a readable report, per event."),
    "demo": ("demo", "Try it all on this machine, on a real OpenSearch node."),
    "enrich": ("enrich", "Enrich JSON documents, one a line, that hold an event."),
    "gfp": ("gfp", "Decode a GFP mask as of a kernel release."),
    "install": ("install", "Install pipelines, templates, articles and saved objects."),
    "kb": ("kb", "Read, search, build and serve the knowledge base."),
    "manual": ("manual", "Print the manual page."),
    "package": ("package", "Build what Fleet, or the page Integrations, installs."),
    "pipelines": ("pipelines", "Build the ingest pipelines."),
    "saved-objects": ("saved_objects", "Build the dashboards and saved searches as files."),
    "ship": ("ship", "Decode logs and index the events."),
    "status": ("status", "Say what is installed in a cluster, and whether it works."),
    "templates": ("templates", "Build the component and index templates."),
    "sweep": ("sweep", "Assemble events from what was indexed line by line."),
    "uninstall": ("uninstall", "Remove what install made, and leave what others use."),
    "zone-reclaim": ("zone_reclaim", "Take a value of vm.zone_reclaim_mode apart."),
}


class _LazyGroup(click.Group):
    """A group that imports a command's module when that command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"allocfail.commands.{COMMANDS[cmd_name][0]}").command
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="allocfail", prog_name="allocfail")
def cli() -> None:
    """Linux memory-allocation failures, decoded, grouped and explained.

    \b
    Example:
      dmesg | allocfail decode -

    \b
    Environment:
      ALLOCFAIL_URL        the cluster, as --url
      ALLOCFAIL_API_KEY, ALLOCFAIL_USER, ALLOCFAIL_PASSWORD
                           how to get in, as --api-key, --user, --password
      ALLOCFAIL_KB_URL     where the articles are served, as --kb-url
      ALLOCFAIL_CACHE      folder for what the demo downloads
      JAVA_HOME            the Java that the demo runs
      PAGER, NO_COLOR, COLUMNS
                           how text is shown on a terminal
      XDG_STATE_HOME       folder for checkpoints of ship and sweep
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines


def main() -> None:
    """Run the command line and leave with its exit status; a person never sees a traceback.

    Exit status: 0 done, 1 not found or did not hold, 2 bad usage or unreadable input, 130 interrupted.
    """
    if sys.stdout is None or sys.stderr is None:
        # Closed by whoever started us (`>&-`): nothing could be said.
        if sys.stderr is not None:
            sys.stderr.write("allocfail: standard output is closed\n")
        sys.exit(2)
    take_any_encoding()
    try:
        status = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except SystemExit as stop:
        # click has met a closed pipe (`| head`) where it put its wrapper round standard output.
        status = 0 if type(sys.stdout).__name__ == "PacifyFlushWrapper" else stop.code
    except BrokenPipeError:
        # The reader has gone (`| head`): leave without Python's own complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    except (AllocfailError, click.ClickException, ModuleNotFoundError, OSError) as error:
        text, status = _told(error)
        click.echo(text, err=True)
    sys.exit(status if isinstance(status, int) else 0)


def _told(error: Exception) -> tuple[str, int]:
    """Return what is said of an error, and the exit status; raises what is a fault of ours."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), error.exit_code
    if isinstance(error, click.ClickException):
        return f"allocfail: {' '.join(error.format_message().split())}", error.exit_code
    if isinstance(error, AllocfailError):
        return f"allocfail: {printable(str(error))}", error.exit_code
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"allocfail: {one_line(file)}{error.strerror}", 2
    name = getattr(error, "name", None)
    if name is None or name.partition(".")[0] in {"allocfail", *sys.stdlib_module_names}:
        raise error
    return f"allocfail: this needs {name}, which is not in the single file: install the wheel", 2
