"""Provenance is a proof or nothing, and containers in containers are read alike by decode and enrich."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from allocfail.decoder.enrich import enrich
from allocfail.decoder.options import Options
from allocfail.logs.events import decode_bytes

HEADER = "x: page allocation failure: order:1, mode:0x20"
KMSG = f"4,1,1000,-;{HEADER}"
KERNEL = {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "SYSLOG_FACILITY": "0"}
USER = {"_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": "root"}
NOW = int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()) * 1000
OPTIONS = Options(now=NOW, reference=NOW)

#: A document, and what its record proves.
DOCUMENTS: list[tuple[dict[str, Any], str]] = [
    ({**KERNEL, "MESSAGE": HEADER}, "kernel"),
    ({**KERNEL, "SYSLOG_FACILITY": "1", "MESSAGE": HEADER}, "forged"),
    ({"_TRANSPORT": "kernel", "MESSAGE": HEADER}, "plausible"),
    ({**USER, "MESSAGE": KMSG}, "plausible"),
    ({**USER, "MESSAGE": json.dumps({**KERNEL, "MESSAGE": HEADER})}, "plausible"),
    ({"log": KMSG + "\n", "stream": "stdout"}, "plausible"),
    ({"log": json.dumps({**KERNEL, "MESSAGE": HEADER}) + "\n", "stream": "stdout"}, "plausible"),
    ({"message": json.dumps({**KERNEL, "MESSAGE": HEADER})}, "plausible"),
    ({"message": KMSG}, "plausible"),
    ({"message": f"12,1,1000,-;{HEADER}"}, "forged"),
    ({**KERNEL, "MESSAGE": HEADER, "kubernetes": {"pod_name": "a"}}, "plausible"),
    ({"jsonPayload": {**KERNEL, "MESSAGE": HEADER}}, "kernel"),
    ({"systemd": {"transport": "kernel"}, "syslog": {"identifier": "kernel"}, "message": HEADER}, "kernel"),
    ({"systemd": {"transport": "journal"}, "syslog": {"identifier": "kernel"}, "message": KMSG}, "plausible"),
]


@pytest.mark.parametrize(("document", "proof"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_only_the_outermost_layer_proves_anything(document: dict[str, Any], proof: str) -> None:
    made = enrich(document, OPTIONS)
    assert made is not None
    assert made["allocfail"]["provenance"] == proof
    assert made["allocfail"]["order"] == 1
    (event,) = decode_bytes(json.dumps(document).encode())
    assert event.document["allocfail"]["provenance"] == proof
    assert event.document["process"]["name"] == "x"


@pytest.mark.parametrize(
    ("line", "proof"),
    [
        (KMSG, "kernel"),
        (f"12,1,1000,-;{HEADER}", "forged"),
        (f"Mar  4 05:06:07 h1 root: {KMSG}", "plausible"),
        (f"Mar  4 05:06:07 h1 kernel: {KMSG}", "plausible"),
        (f"<13>Mar  4 05:06:07 h1 {KMSG}", "plausible"),
        (f"2026-03-04T05:06:07Z stdout F {KMSG}", "plausible"),
        (f"klog-1 | {KMSG}", "plausible"),
        (f"2026-03-04T05:06:07Z stdout F {json.dumps({**KERNEL, 'MESSAGE': HEADER})}", "plausible"),
        (json.dumps({**KERNEL, "MESSAGE": HEADER}), "kernel"),
        (HEADER, "plausible"),
    ],
)
def test_another_transport_in_front_takes_the_proof_away(line: str, proof: str) -> None:
    found = [event.document["allocfail"]["provenance"] for event in decode_bytes(line.encode())]
    assert found == [proof]


def test_what_nested_containers_say_is_joined() -> None:
    inner = {**KERNEL, "MESSAGE": HEADER, "_HOSTNAME": "h1", "_SOURCE_MONOTONIC_TIMESTAMP": "7061980000"}
    outer = {"log": json.dumps(inner) + "\n", "stream": "stdout", "time": "2026-03-04T05:06:07.5Z"}
    (event,) = decode_bytes(json.dumps(outer).encode())
    document = event.document
    assert document["host"]["hostname"] == "h1"
    assert document["@timestamp"] == "2026-03-04T05:06:07.500Z"
    assert document["allocfail"]["uptime"] == 7061.98
    made = enrich(outer, OPTIONS)
    assert made is not None
    assert made["host"]["hostname"] == "h1"
    assert made["@timestamp"] == "2026-03-04T05:06:07.500Z"
    assert made["allocfail"]["uptime"] == 7061.98


def test_an_object_printed_over_several_lines() -> None:
    row = {"jsonPayload": {"message": HEADER, "hostname": "h1\u0002"}, "timestamp": "2026-03-04T05:06:07Z"}
    text = "before\n" + json.dumps([row], indent=2) + "\nafter\n" + json.dumps(row, indent=4) + "\n"
    documents = [event.document for event in decode_bytes(text.encode())]
    assert [(d["host"]["hostname"], d["@timestamp"][:10]) for d in documents] == [("h1", "2026-03-04")] * 2
    # A block of source code is none, and nothing of it is lost.
    code = "void f(void)\n{\n  g();\n}\n" + HEADER + "\n"
    assert len(decode_bytes(code.encode())) == 1
    assert len(decode_bytes(("{\n" + HEADER + "\n").encode())) == 1
