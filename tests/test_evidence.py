"""What is known by other means than the line that usually says it: releases, contexts, times; and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from allocfail.decoder.event import explain
from allocfail.decoder.options import Options
from allocfail.logs.events import Decoder, decode_bytes

HEADER = "[ 1.000001] app: page allocation failure: order:1, mode:0x{}"
SUPPRESSED = "[ 1.000000] warn_alloc: 12 callbacks suppressed"


def documents(text: str, **options: Any) -> list[dict[str, Any]]:
    return [event.document for event in decode_bytes(text.encode(), Options(**options))]


@pytest.mark.parametrize(
    ("line", "decoded_by", "name"),
    [
        ("swapper: page allocation failure. order:1, mode:0x20", "table", "GFP_ATOMIC"),
        ("swapper: page allocation failure: order:1, mode:0x20", "ambiguous", None),
        ("SLUB: Unable to allocate memory on node -1 (gfp=0x20)", "ambiguous", None),
        ("app: page allocation failure. order:0, mode:0x200d2", "ambiguous", None),
        ("app: page allocation failure: order:0, mode:0x10d0", "ambiguous", None),
        ("app invoked oom-killer: gfp_mask=0x280da, order=0, oom_adj=0", "ambiguous", None),
    ],
)
def test_a_header_s_form_bounds_the_release(line: str, decoded_by: str, name: str | None) -> None:
    (document,) = documents(line)
    mask = document["allocfail"]["gfp"]
    assert (mask["decoded_by"], mask.get("name")) == (decoded_by, name)
    for candidate in mask.get("candidates", []):
        assert "unknown_bits" not in candidate
        assert not {"5.1", "6.3", "7.3"} & set(candidate["releases"].replace("-", ",").split(","))
    # What is told beats the form.
    (document,) = documents(line, kernel="5.4.0")
    assert document["allocfail"]["gfp"]["table"].startswith("5.1")


@pytest.mark.parametrize(
    ("frame", "context", "may_sleep"),
    [("net_rx_action", "softirq", False), ("do_IRQ", "hardirq", False), ("do_syscall_64", "process", None)],
)
def test_an_interrupt_proves_that_a_request_may_not_sleep(frame: str, context: str, *, may_sleep: bool | None) -> None:
    text = f"Call Trace:\n dump_stack+0x1/0x2\n warn_alloc+0x1/0x2\n my_rx+0x1/0x2 [mydrv]\n {frame}+0x1/0x2\n"
    (document,) = documents(text)
    own = document["allocfail"]
    assert own["trace"]["context"] == context
    assert own.get("gfp", {}).get("may_sleep") == may_sleep


@pytest.mark.parametrize(
    ("prefix", "options", "guessed"),
    [
        ("Mar  4 05:06:07 h1 kernel: ", {}, ["year", "zone"]),
        ("Mar  4 05:06:07 h1 kernel: ", {"year": 2020}, ["zone"]),
        ("Mar  4 05:06:07 h1 kernel: ", {"year": 2020, "timezone": "Europe/Prague"}, None),
        ("2020-03-04T05:06:07Z h1 kernel: ", {}, None),
        ("[Wed Mar  4 05:06:07 2020] ", {}, ["zone"]),
        ("Mär 04 05:06:07 h1 kernel: ", {"year": 2020, "timezone": "+01:00"}, None),
    ],
)
def test_what_of_a_time_is_guessed(prefix: str, options: dict[str, Any], guessed: list[str] | None) -> None:
    (document,) = documents(prefix + "app: page allocation failure: order:1, mode:0x20", **options)
    assert document["@timestamp"][4:10] == "-03-04"
    assert document["allocfail"].get("time_guessed") == guessed


@pytest.mark.parametrize("number", ["1024", "2048", "1984", "2014"])
def test_a_host_that_is_a_number(number: str) -> None:
    for level in ("", "<4>"):
        line = f"{level}Apr  2 06:15:11 {number} kernel: [ 3410198.7] app: page allocation failure: order:1, mode:0x20"
        (document,) = documents(line, year=2020)
        assert document["host"]["hostname"] == number
        assert document["@timestamp"] == "2020-04-02T06:15:11.000Z"
        assert document["allocfail"]["uptime"] == 3410198.7


def test_suppressed_callbacks_are_of_the_header_that_follows() -> None:
    near = "\n".join([SUPPRESSED, *["[ 1.0] other"] * 20, HEADER.format("20")])
    far = "\n".join([SUPPRESSED, *["[ 1.0] other"] * 200, HEADER.format("20")])
    assert documents(near)[0]["allocfail"]["suppressed"] == 12
    assert "suppressed" not in documents(far)[0]["allocfail"]
    decoder = Decoder()
    assert list(decoder.decode([(SUPPRESSED + "\n[ 1.1] other\n").encode()])) == []
    assert decoder.oldest == 0
    assert list(decoder.decode([b"[ 1.2] other\n" * 200], offset=100)) == []
    assert decoder.oldest is None


OLD = [
    "swapper: page allocation failure: order:1, mode:0x20",
    "Call Trace:",
    " [<ffffffff8112f9e7>] __alloc_pages_nodemask+0x757/0x8d0",
    " [<ffffffff8112f9e8>] old_pointer+0x0/0x10",
    " [<ffffffff8116e482>] my_alloc+0x62/0x170",
    " [<ffffffff8116e483>] my_caller+0x62/0x170",
    " [<ffffffff8116e484>] system_call_fastpath+0x16/0x1b",
]


@pytest.mark.parametrize("release", ["2.6.18-8.el5", "2.6.32-431.el6"])
def test_frames_are_explained_by_the_release_that_the_document_goes_by(release: str) -> None:
    lines = [json.dumps({"message": line, "host": {"os": {"kernel": release}}}) for line in OLD]
    (event,) = decode_bytes("\n".join(lines).encode())
    text = event.document["allocfail"]["fingerprint"]["text"]
    kept = [frame["function"] for frame in explain(event.event) if frame["rule"] is None]
    assert text.split("|")[-1].split(">") == kept
    assert ("old_pointer" in kept) == (release != "2.6.18-8.el5")


def test_a_slab_report_follows_an_id_that_a_document_has() -> None:
    lines = [*OLD, "SLUB: Unable to allocate memory on node -1 (gfp=0x20)", "  cache: a, object size: 8"]
    for release in ("2.6.18-8.el5", "2.6.32-431.el6"):
        text = "\n".join(json.dumps({"message": line, "host": {"os": {"kernel": release}}}) for line in lines)
        first, second = documents(text)
        assert second["allocfail"]["follows"] == first["allocfail"]["fingerprint"]["id"]


def test_frames_of_two_tasks_in_one_trace_explain_nothing() -> None:
    waiting = (
        "[ 1.1] a: page allocation failure: order:1, mode:0x20\n[ 1.2] b: page allocation failure: order:1, mode:0x20\n"
    )
    text = waiting + "[ 1.3] Call Trace:\n[ 1.4]  dump_stack+0x1/0x2\n[ 1.5] Call Trace:\n[ 1.6]  dump_stack+0x1/0x2\n"
    text += "[ 1.7]  warn_alloc+0x1/0x2\n[ 1.8]  my_alloc+0x1/0x2\n"
    for event in decode_bytes(text.encode()):
        if event.document["allocfail"]["fingerprint"]["level"] == "header":
            assert all(frame["rule"] is not None for frame in explain(event.event))
