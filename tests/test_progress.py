"""The progress line appears on a terminal only, for long jobs only, and goes away again."""

from __future__ import annotations

import io
import sys
import threading
from typing import TYPE_CHECKING

from allocfail.logs import progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in a test, not a fixture: between the two pytest puts its own streams back."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "PERIOD", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stderr


def test_says_how_much_of_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    threads = threading.active_count()
    with progress.Bar("messages") as bar:
        for part in (1, 2, 3):
            bar(part * 10**9, 4 * 10**9)
        # Processes are forked beside it: it must have no thread.
        assert threading.active_count() == threads
    shown = terminal.getvalue()
    assert "messages" in shown
    assert "3.0/4.0 GB" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the line is cleared


def test_a_pipe_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    with progress.Bar("-") as bar:
        bar(5 * 10**6, None)
    assert "5.0/? MB" in terminal.getvalue()


def test_a_name_is_only_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    with progress.Bar("[bold]\x1b]0;x\x07") as bar:
        bar(1, 2)
    assert "[bold]?]0;x?" in terminal.getvalue()


def test_short_jobs_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with progress.Bar("messages") as bar:
        bar(1, 2)
    assert terminal.getvalue() == ""


def test_nothing_without_a_terminal_or_beside_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", terminal)
    with progress.Bar("messages") as bar:
        bar(1, 2)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.Bar("messages") as bar:
        bar(1, 2)
    assert terminal.getvalue() == ""
