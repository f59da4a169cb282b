"""What looks like a header and is not read as one is said at the end, so that nobody believes in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from allocfail.commands.decode import command

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "app: page allocation failure: order:0, mode:0x20"
FILL = "Feb 14 15:24:15 h1 kernel: [    1.234567] usb 1-1: new device\n"


def decode(path: Path, *options: str) -> tuple[list[str], str]:
    result = CliRunner().invoke(command, ["--format", "ndjson", *options, str(path)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stdout.splitlines(), result.stderr


@pytest.mark.parametrize(
    ("lines", "events", "said"),
    [
        ([HEADER], 1, None),
        (
            [f"`{HEADER}`", HEADER],
            1,
            "1 line has the words of a header and could not be read as one; it begins at byte 0",
        ),
        (
            ["no", f"I can see in the log {HEADER}", f"`{HEADER}`"],
            0,
            "2 lines have the words of a header and could not be read as one; the first begins at byte 3",
        ),
        (['warn_alloc(mask, NULL, "page allocation failure: order:%u", order);'], 0, None),
    ],
)
def test_lines_that_are_not_read_are_counted(lines: list[str], events: int, said: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("\n".join([*lines, ""]))
    found, err = decode(path)
    assert len(found) == events
    assert [line for line in err.splitlines() if "words of a header" in line] == (
        [] if said is None else [f"allocfail: {path}: {said}"]
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_several_processes_read(workers: str, tmp_path: Path) -> None:
    path = tmp_path / "large.log"
    part = FILL * 20_000 + f"I can see in the log {HEADER}\n" + FILL * 50_000 + HEADER + "\n"
    path.write_text(part * 3)
    found, err = decode(path, "--workers", workers)
    assert len(found) == 3
    first = len(FILL) * 20_000
    assert (
        f"{path}: 3 lines have the words of a header and could not be read as one; the first begins at byte {first}"
        in err
    )
