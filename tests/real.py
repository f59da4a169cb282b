"""Real dumps, which lie beside the project: which of them are pinned, and those that came later.

Pinned are those that ``golden/corpus.txt`` and ``corpus-new.txt`` list. What the shared folder has beyond them is tried
as well, but may fail: ``make expectations`` takes them in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

__all__ = ["CORPUS", "SHARED", "events", "params", "posted", "rows"]

SHARED = Path(__file__).parents[2] / "shared"
CORPUS = SHARED / "corpus"


def _pinned(of: str = "corpus") -> set[str]:
    lines = (Path(__file__).parent / "golden" / f"{of}.txt").read_text(encoding="utf-8").splitlines()[1:]
    return {line.split("\t")[0] for line in lines}


def events(of: str = "corpus") -> list[Path]:
    """Return the pinned logs of a folder; none where it is not there."""
    pinned = _pinned(of)
    return [path for path in sorted((SHARED / of / "events").glob("*")) if path.stem in pinned]


def posted() -> list[Path]:
    """Return all pinned logs and the page that the project began with."""
    return [*events(), *events("corpus-new"), *sorted((SHARED / "seed").glob("*"))]


def _index() -> list[dict[str, Any]]:
    index = CORPUS / "index.jsonl"
    return [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()] if index.is_file() else []


def rows() -> list[dict[str, Any]]:
    """Return the table's rows about pinned logs: what was found in them by hand."""
    pinned = _pinned()
    return [row for row in _index() if Path(row["file"]).stem in pinned]


def params() -> list[Any]:
    """Return every row for a test of its own; one that came later is expected to fail, if it does."""
    pinned = _pinned()
    later = pytest.mark.xfail(reason="came later: not in golden/corpus.txt yet", strict=False)
    return [
        pytest.param(row, id=Path(row["file"]).stem, marks=[] if Path(row["file"]).stem in pinned else [later])
        for row in _index()
    ]
