"""The commands that README.md and docs show, what they print now, and how to put that into the pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PAGES", "ROOT", "Block", "Command", "blocks", "commands", "shell", "write"]

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "kb/README.md"]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


class Command(NamedTuple):
    """A command of a console block, and the output that stands below it."""

    page: Path
    line: str
    output: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(page, language, text)


def _split(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield line, output


def commands() -> list[Command]:
    """Return every command that a page shows with its output."""
    consoles = (block for page in PAGES for block in blocks(page) if block.language == "console")
    return [Command(block.page, *shown) for block in consoles for shown in _split(block.text)]


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody would who has allocfail installed and stands in ``folder``."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "80",
        **environment,
    }
    # head closes the pipe early; that is no failure of what writes into it.
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def write() -> Iterator[Path]:
    """Put what every command prints now below it; yield the pages that changed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "samples").symlink_to(ROOT / "samples")
        for page in PAGES:
            before = page.read_text(encoding="utf-8")

            def anew(found: re.Match[str]) -> str:
                if found[1] != "console":
                    return found[0]
                shown = (f"$ {line}\n{shell(line, folder).stdout}" for line, _ in _split(found[2]))
                return f"```console\n{''.join(shown)}```"

            after = _FENCE.sub(anew, before)
            if after != before:
                page.write_text(after, encoding="utf-8")
                yield page
