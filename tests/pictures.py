"""Makes the README's pictures anew: ``python tests/pictures.py`` (needs chromium for the page; leaves no demo running).

Commands run in a terminal of their own, so that they print what a person sees.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from allocfail.demo import artifacts

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
COLUMNS = 104
DECODE = "allocfail decode --year 2014 --format text samples/svn3-centos6.log"
DEMO = "allocfail demo --port 19200"


def terminal(command: str) -> str:
    """Return what ``command`` writes to a terminal."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
    }
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=variables, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(mine, 65536):
            parts.append(part)
    except OSError:  # the terminal is closed when its last process ends
        pass
    os.close(mine)
    if process.wait():
        sys.exit(f"{command}: exit status {process.returncode}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def picture(text: str, title: str) -> str:
    """Return an SVG of a terminal's text, broken into lines as there, without the web font that rich names."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        for line in Text.from_ansi(text.rstrip()).split():
            for part in line.divide(range(COLUMNS, len(line), COLUMNS)):
                console.print(part, soft_wrap=True)
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id=title.split()[1])
    return re.sub(r"@font-face \{[^}]*\}\s*", "", svg)


def page(file: Path) -> None:
    """Take a picture of the article's page."""
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("no chromium")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["allocfail", "kb", "build", "-o", folder], check=True)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        flags += [f"--user-data-dir={folder}/profile", "--window-size=900,1000", f"--screenshot={file}"]
        url = f"file://{folder}/zone-reclaim-mode.html"
        subprocess.run([browser, *flags, url], check=True, capture_output=True, timeout=60)


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "decode.svg").write_text(picture(terminal(DECODE), DECODE), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "artifacts").symlink_to(artifacts.cache_dir() / "artifacts")
        os.environ["ALLOCFAIL_CACHE"] = folder
        try:
            text = terminal(DEMO)
        finally:
            subprocess.run(["allocfail", "demo", "--down"], check=True)
    (IMAGES / "demo.svg").write_text(picture(text[text.index("group ") :], "make demo"), encoding="utf-8")
    page(IMAGES / "article.png")


if __name__ == "__main__":
    main()
