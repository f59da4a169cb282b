"""The documents that the decoder made when a list was last written: what a mismatch is told against.

The source of that commit is taken from git and its own commands are run, so that modules may be moved meanwhile. Where
there is no history (an archive, a shallow clone) nothing is known of before.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

from golden import FOLDER, NOW, YEAR

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Before"]

ROOT = FOLDER.parents[1]


def _git(*arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


class Before:
    """The commands of the commit that last wrote a list."""

    def __init__(self, folder: Path, written: Path) -> None:
        """Take the source from git into ``folder``."""
        self._folder = folder
        found = _git("log", "-1", "--format=%h", "--", str(written))
        self.commit = found.decode().strip() if found else ""
        source = _git("archive", self.commit, "ingest", "kb") if self.commit else None
        self.known = source is not None
        if source is not None:
            with tarfile.open(fileobj=io.BytesIO(source)) as archive:
                archive.extractall(folder, filter="data")

    def _run(self, *arguments: str, text: bytes) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "allocfail", *arguments],
            input=text,
            capture_output=True,
            cwd=self._folder,
            env=os.environ | {"PYTHONPATH": str(self._folder / "ingest")},
            check=False,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def documents(self, data: bytes) -> list[dict[str, Any]]:
        """Return what that commit made of a log, as :func:`golden.documents` does."""
        found = self._run("decode", "--year", str(YEAR), "--format", "ndjson", "-", text=data)
        for document in found:
            document.pop("log", None)  # a command knows where the log came from
        line = json.dumps({"message": data.decode("utf-8", "replace")}).encode() + b"\n"
        filled = [d for d in self._run("enrich", "--year", str(YEAR), text=line) if "allocfail" in d]
        for document in filled:
            if document["allocfail"].get("time_source") == "ingest":
                document["@timestamp"] = f"{NOW:%Y-%m-%dT%H:%M:%S}.{NOW.microsecond // 1000:03d}Z"
        return [*found, *filled]
