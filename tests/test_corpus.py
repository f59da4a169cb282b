"""The decoder against real dumps with hand-checked truth, read from the shared folder beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allocfail.logs.events import decode_bytes
from corpora import FOLDERS, rows, score

ROWS = [row for folder in FOLDERS for row in rows(folder)]

pytestmark = pytest.mark.skipif(not ROWS, reason="NO CORPUS: ../shared is not there, real dumps were NOT tested")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: Path(row["file"]).stem)
def test_every_event_is_found_and_decoded(row: dict[str, Any]) -> None:
    found = score(row, tell=True)
    assert (found.matched, found.found) == (found.wanted, found.wanted)
    assert found.right == found.fields


@pytest.mark.parametrize("row", ROWS, ids=lambda row: Path(row["file"]).stem)
def test_an_event_s_own_text_gives_it_again(row: dict[str, Any]) -> None:
    for event in decode_bytes(row["path"].read_bytes()):
        again = decode_bytes(event.document["event"]["original"].encode("utf-8", "replace"))
        assert again, event.document["event"]["reason"]
        assert (
            again[0].document["allocfail"]["fingerprint"]["header"]
            == (event.document["allocfail"]["fingerprint"]["header"])
        )
