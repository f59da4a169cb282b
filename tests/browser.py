"""A real browser for tests: Debian's chromium without a window, and a profile of its own each time."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return where a chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def dumped(address: str, folder: Path) -> str:
    """Return the page at ``address`` as the browser holds it after its scripts ran; ``folder`` takes the profile."""
    browser = chromium()
    assert browser is not None
    result = subprocess.run(
        [
            browser,
            *_QUIET,
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return result.stdout.decode()
