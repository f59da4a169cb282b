"""Events that a cluster refused for good, in a file, so that they can be sent again once the reason is gone."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocfail.cluster.identity import Identity
from allocfail.cluster.ship import Item
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocfail.cluster.client import BulkResult

__all__ = ["DeadLetters"]


class DeadLetters:
    """A file with a JSON object a line: the event, where it is from, where it was to go, and why it was refused."""

    def __init__(self, path: Path, target: str) -> None:
        """Take where the file is, and where the events were to go."""
        self.path = path
        self._target = target

    def add(self, item: Item, result: BulkResult) -> None:
        """Write one; when this returns it is on disk. Raises :class:`InputError` where that cannot be done."""
        row = {
            "refused": datetime.now(UTC).isoformat(timespec="seconds"),
            "index": self._target,
            "status": result.status,
            "type": result.kind,
            "reason": result.reason,
            "place": item.place,
            "identity": list(item.known),
            "number": item.number,
            "document": item.document,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}") from None

    def take(self) -> Path | None:
        """Set the file aside to be sent again, and return where it is now; None where there is none.

        What a run that was killed had set aside comes first: it stays there until all of it has been sent. Raises
        :class:`InputError` for a device, which must keep its name.
        """
        aside = self.path.with_name(self.path.name + ".retrying")
        if aside.exists():
            return aside
        if not self.path.exists():
            return None
        if not self.path.is_file():
            raise InputError(f"{self.path}: is no file")
        self.path.rename(aside)
        return aside

    @staticmethod
    def items(aside: Path) -> Iterator[Item]:
        """Yield the events of a file that was set aside. Raises :class:`InputError` for a line that is none of ours."""
        with aside.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row: dict[str, Any] = json.loads(line)
                    known = Identity(*(str(part) for part in row["identity"]))
                    yield Item(known, row["document"], str(row["place"]), number=int(row["number"]))
                except (ValueError, KeyError, TypeError):
                    if not line.endswith("\n"):
                        return  # the machine went down while it was written; the event had not been counted
                    raise InputError(f"{aside}: line {number} is no event that was refused") from None
