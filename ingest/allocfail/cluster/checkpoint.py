"""How far something has come, in a file that is whole at every moment, whenever the process or the machine dies."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from allocfail.errors import InputError

__all__ = ["Checkpoint", "default_path"]


def default_path(kind: str, *what: str) -> Path:
    """Return where the state of one piece of work is kept: below ``XDG_STATE_HOME``, named after what is worked on."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    return Path(base) / "allocfail" / f"{kind}-{name}.json"


class Checkpoint:
    """A small JSON object on disk, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Take where it is; nothing is read or written yet."""
        self.path = path

    def load(self) -> dict[str, Any]:
        """Return what was saved last; empty where nothing was.

        Raises :class:`InputError` for a file that is none of ours, rather than writing over it; a device such as
        ``/dev/null`` would be replaced by a file.
        """
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"{self.path}: is no file")
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: {getattr(error, 'strerror', None) or 'is not text'}") from None
        try:
            found = json.loads(text) if text.strip() else {}
        except ValueError:
            found = None
        if not isinstance(found, dict) or (found and found.get("allocfail") != 1):
            raise InputError(f"{self.path}: is not a checkpoint of allocfail; remove it to begin anew")
        return found

    def save(self, state: dict[str, Any]) -> None:
        """Write it; when this returns it is on disk. Raises :class:`InputError` where that cannot be done."""
        text = json.dumps({"allocfail": 1, **state}, separators=(",", ":"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}") from None
