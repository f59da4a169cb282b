"""What a person sees at a terminal, in any encoding: nothing that waits in silence, no traceback, no line cut."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from allocfail.articles import articles as kb

if TYPE_CHECKING:
    from pathlib import Path

LOG = b"Mar  1 10:00:00 web7 kernel: nginx: page allocation failure. order:1, mode:0x20\n"
#: A person who has set nothing up.
PLAIN = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def run(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "allocfail", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60, env=PLAIN | env)


def at_terminal(*arguments: str, typed: bytes = b"", **env: str) -> str:
    """Return what a command shows at a terminal of 80 columns; ``typed`` is sent once it has said something."""
    mine, theirs = pty.openpty()
    settings = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"}
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "allocfail", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=PLAIN | settings | env,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([mine], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(mine, 65536)
            except OSError:  # the other side is closed
                break
            shown += data
            if typed and b"\n" in shown:
                os.write(mine, typed)
                typed = b""
        process.kill()
    os.close(mine)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("command", [("decode",), ("enrich",), ("kb", "lookup")])
def test_a_command_that_reads_the_terminal_says_so(command: tuple[str, ...]) -> None:
    assert "reading from the terminal; end with Ctrl-D" in at_terminal(*command, typed=b"\x04")
    assert b"terminal" not in run(*command, stdin=LOG).stderr


def test_an_article_goes_through_the_pager(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged with $LESS\ncat\n")
    pager.chmod(0o755)
    shown = at_terminal("kb", "show", "zone-reclaim-mode", PAGER=str(pager))
    assert shown.startswith("paged with FRX\n")
    assert "sysctl -w vm.zone_reclaim_mode=0" in shown
    assert b"paged with" not in run("kb", "show", "zone-reclaim-mode", "--format", "text", PAGER=str(pager)).stdout


@pytest.mark.parametrize("command", [("list",), ("search", "zone", "reclaim")])
def test_lists_fit_the_terminal(command: tuple[str, ...]) -> None:
    served = ("--kb-url", kb.DEFAULT_URL)  # otherwise the command that shows an article stands there
    lines = run("kb", *command, *served, "--format", "text", COLUMNS="60").stdout.decode().splitlines()
    assert max(len(line) for line in lines if "http://" not in line) <= 60
    assert all(line == line.rstrip() or len(line) < 60 for line in lines)
    assert f"  {kb.DEFAULT_URL}zone-reclaim-mode.html" in lines


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "iso8859-15", "euc-jp"])
@pytest.mark.parametrize(
    "command",
    [
        ("kb", "show", "zone-reclaim-mode"),
        ("kb", "show", "zone-reclaim-mode-zh", "--format", "text"),
        ("kb", "list", "--format", "text"),
        ("kb", "lookup", "--format", "text"),
        ("decode", "--format", "text"),
        ("zone-reclaim", "99"),
        ("gfp", "0x20", "--format", "text"),
        ("kb", "show", "\u2026\U0001f4a5"),
    ],
)
def test_no_encoding_ends_in_a_traceback(encoding: str, command: tuple[str, ...]) -> None:
    result = run(*command, stdin=LOG, PYTHONIOENCODING=encoding, LC_ALL="C.UTF-8")
    assert b"Traceback" not in result.stderr
    assert result.returncode in {0, 1}
    assert result.stdout or result.stderr


def test_documents_stay_json_in_every_encoding() -> None:
    for encoding in ("latin-1", "ascii", "utf-8"):
        listed = run("kb", "list", PYTHONIOENCODING=encoding, LC_ALL="C.UTF-8").stdout.splitlines()
        assert [json.loads(line.decode(encoding, "replace"))["id"] for line in listed] == [one.id for one in kb.load()]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("0x20",), 0),
        (("0xffffffff",), 1),
        (("0xffffffff", "--kernel", "6.12"), 1),
        (("0x20", "--kernel", "6.12"), 0),
        # A bit that some release knows is known, unless it is asked about another.
        (("0x8000000", "--kernel", "2.6.32"), 1),
        (("0x8000000",), 0),
    ],
)
def test_a_mask_with_unknown_bits_ends_with_1(arguments: tuple[str, ...], status: int) -> None:
    result = run("gfp", *arguments)
    assert result.returncode == status
    assert json.loads(result.stdout)["mask"] == arguments[0]


def test_the_year_of_a_log_is_one_of_linux() -> None:
    assert run("decode", "--year", "1990", "-", stdin=LOG).returncode == 0
    refused = run("decode", "--year", "1989", "-", stdin=LOG)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", ""),
        ("backfill", ""),
        ("ship", "x.log", "--index-name", ""),
        ("sweep", "x", "--data-stream", " "),
        ("install", "--index", ""),
        ("uninstall", "--index", ""),
        ("install", "--space", ""),
    ],
)
def test_an_empty_name_is_not_every_index(command: tuple[str, ...]) -> None:
    """What a script's unset variable gives; the cluster is not even asked."""
    refused = run(*command, "--url", "http://127.0.0.1:1")
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    assert b"a name is needed" in refused.stderr


def test_help_names_the_variables() -> None:
    shown = run("--help").stdout.decode()
    for name in ("ALLOCFAIL_URL", "ALLOCFAIL_API_KEY", "ALLOCFAIL_KB_URL", "ALLOCFAIL_CACHE", "JAVA_HOME"):
        assert name in shown
    for command in ("decode", "enrich", "ship", "sweep", "install"):
        assert "[env: ALLOCFAIL_KB_URL]" in " ".join(run(command, "--help").stdout.decode().split())
