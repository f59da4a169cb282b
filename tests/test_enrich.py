"""Documents only gain: what is there stays, whatever it is."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocfail.decoder.enrich import enrich
from allocfail.decoder.fields import at
from allocfail.decoder.options import Options
from allocfail.logs.filter import enrich_line

HEADER = "swapper: page allocation failure. order:1, mode:0x20"
DUMP = (Path(__file__).parents[1] / "samples" / "svn3-centos6.log").read_text(encoding="utf-8")
NOW = Options(now=int(datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()) * 1000 + 123)


def made(document: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(document)
    out = enrich(document, NOW)
    assert document == before
    assert out is not None
    return out


@pytest.mark.parametrize("field", ["message", "event.original", "log.original", "body", "MESSAGE", "log"])
def test_every_source_field_is_read_nested_or_dotted(field: str) -> None:
    nested: Any = HEADER
    for key in reversed(field.split(".")):
        nested = {key: nested}
    for document in (nested, {field: HEADER}):
        out = made(document)
        assert out["allocfail"]["order"] == 1
        assert at(out, field) == HEADER
        assert at(out, "event.original") == HEADER


def test_event_original_is_read_before_message() -> None:
    other = HEADER.replace("order:1", "order:2")
    assert made({"message": HEADER, "event": {"original": other}})["allocfail"]["order"] == 2
    assert made({"message": HEADER, "event": {"original": "no event"}})["allocfail"]["order"] == 1


def test_the_first_event_is_decoded_and_the_others_counted() -> None:
    out = made({"message": DUMP})
    assert out["allocfail"]["further_events"] == 1
    assert out["event"]["original"] == DUMP


def test_running_twice_changes_nothing() -> None:
    assert enrich(made({"message": DUMP})) is None


@pytest.mark.parametrize(
    "document",
    [
        {"message": "nothing"},
        {"message": 5},
        {"message": None},
        {"message": [HEADER]},
        {"message": {"text": HEADER}},
        {},
        {"message": HEADER, "allocfail": {"fingerprint": {"id": "x"}}},
        {"message": HEADER, "allocfail.fingerprint": "x"},
    ],
)
def test_documents_without_an_event_are_left_alone(document: dict[str, Any]) -> None:
    assert enrich(document) is None


def test_what_is_there_stays() -> None:
    document = {
        "message": HEADER,
        "event": {"kind": "alert", "module": "system"},
        "host": {"hostname": "collector", "os": {"kernel": "5.10.0-1-amd64"}},
        "process": {"name": "rsyslogd"},
        "rule": {"id": "mine"},
        "tags": ["a"],
        "error.id": "mine",
    }
    out = made(document)
    assert out["event"]["kind"] == "alert"
    assert out["event"]["module"] == "system"
    assert out["event"]["action"] == "page-allocation-failure"
    assert out["host"]["hostname"] == "collector"
    assert out["process"]["name"] == "rsyslogd"
    assert out["rule"]["id"] == "mine"
    assert out["tags"] == ["a", "kernel-allocation-failure"]
    assert out["error.id"] == "mine"
    assert "id" not in out.get("error", {})


@pytest.mark.parametrize("name", ["host", "event", "log", "process", "rule", "error", "related", "allocfail"])
def test_a_field_whose_parent_is_no_object_is_not_written(name: str) -> None:
    out = made({"message": DUMP, name: "text"})
    assert out[name] == "text"


def test_the_release_comes_from_the_document_where_the_text_has_none() -> None:
    out = made({"message": HEADER, "host": {"os": {"kernel": "2.6.32-431.el6.x86_64"}}})
    assert out["allocfail"]["gfp"]["name"] == "GFP_ATOMIC"
    assert out["allocfail"]["gfp"]["decoded_by"] == "table"


def test_another_host_s_line_goes_where_a_relay_s_does() -> None:
    out = made({"message": DUMP, "host": {"name": "collector"}, "related": {"hosts": ["collector"]}})
    assert out["host"] == {"name": "collector"}
    assert out["log"]["syslog"]["hostname"] == "svn3"
    assert out["related"]["hosts"] == ["collector", "svn3"]


def test_time() -> None:
    assert made({"message": HEADER})["@timestamp"] == "2024-05-06T07:08:09.123Z"
    assert made({"message": HEADER})["allocfail"]["time_source"] == "ingest"
    assert made({"message": DUMP})["allocfail"]["time_source"] == "log"
    own = made({"message": DUMP, "@timestamp": "2020-01-01T00:00:00Z"})
    assert own["@timestamp"] == "2020-01-01T00:00:00Z"
    assert "time_source" not in own["allocfail"]


def test_a_number_too_large_for_an_index_becomes_text() -> None:
    text = "x: vmalloc error: size 18446744071562596352, exceeds total pages, mode:0xcc0(GFP_KERNEL)"
    assert made({"message": text})["allocfail"]["vmalloc"]["bytes_text"] == "18446744071562596352"
    order = made({"message": HEADER.replace("order:1", "order:64")})["allocfail"]
    assert order["order_text"] == "64"
    assert "order" not in order


def test_a_very_long_text_gives_its_header() -> None:
    out = made({"message": DUMP + "x" * 1_000_001})
    assert out["allocfail"]["incomplete_reason"] == "too long"
    assert out["allocfail"]["order"] == 1
    out = made({"message": "\n" * 20_001 + DUMP})
    assert out["allocfail"]["complete"] is False


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=10) | st.just(HEADER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "message",
        "event",
        "host",
        "log",
        "tags",
        "related",
        "error",
        "process",
        "allocfail",
        "event.original",
        "@timestamp",
    ]
)


@given(st.dictionaries(fields, json_values, max_size=6))
def test_nothing_is_ever_lost_or_changed(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    out = enrich(document, NOW)
    assert document == before
    if out is None:
        return

    def kept(old: Any, new: Any, path: str) -> None:
        if isinstance(old, dict):
            assert isinstance(new, dict)
            for key, value in old.items():
                kept(value, new[key], f"{path}.{key}")
        elif path in {".tags", ".related.hosts"} and old != new:
            assert new[: len(old)] == old if isinstance(old, list) else old in new
        else:
            assert old == new

    kept(before, out, "")
    json.dumps(out)


@given(st.binary(max_size=200) | st.just(HEADER.encode()) | st.just(json.dumps({"message": HEADER}).encode()))
def test_a_line_never_gets_lost(line: bytes) -> None:
    complaints: list[str] = []
    out = enrich_line(line + b"\n", None, complaints.append)
    assert out.endswith(b"\n")
    if complaints:
        assert out == line + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        b'{"message":"' + HEADER.encode() + b'","a":1,"a":2}\n',
        b'{"message":"' + HEADER.encode() + b'","a":1e999}\n',
        b'{"message":"' + HEADER.encode() + b'","a":NaN}\n',
    ],
)
def test_what_python_would_write_back_otherwise_is_left_alone(line: bytes) -> None:
    complaints: list[str] = []
    assert enrich_line(line, None, complaints.append) == line
    assert len(complaints) == 1


def test_lone_surrogates_survive() -> None:
    line = b'{"message":"' + HEADER.encode() + b'","a":"\\ud800"}\n'
    out = enrich_line(line, None, lambda _: None)
    assert json.loads(out)["a"] == "\ud800"
    assert b"fingerprint" in out
