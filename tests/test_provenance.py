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
ENTRY = json.dumps({**KERNEL, "MESSAGE": HEADER})
EXPORTED = "_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\n"
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
    # All that name a transport, a program or a facility have to agree.
    ({**KERNEL, "systemd": {"transport": "syslog"}, "MESSAGE": HEADER}, "plausible"),
    ({**KERNEL, "syslog": {"identifier": "root"}, "MESSAGE": HEADER}, "forged"),
    ({**KERNEL, "log": {"syslog": {"facility": {"code": 1}}}, "MESSAGE": HEADER}, "forged"),
    # An outer proof does not hide an inner one to the contrary.
    ({**KERNEL, "MESSAGE": f"12,1,1000,-;{HEADER}"}, "forged"),
    ({**KERNEL, "MESSAGE": KMSG}, "kernel"),
    ({**KERNEL, "MESSAGE": json.dumps({**USER, "MESSAGE": HEADER})}, "kernel"),
]

#: What says that a line came out of a container or a file, beside a claim that it is the kernel's.
ELSEWHERE: list[dict[str, Any]] = [
    {"kubernetes.pod.name": "a"},
    {"kubernetes": {"pod": {"name": "a"}}},
    {"container.id": "a"},
    {"container": {"id": "a"}},
    {"docker.container.id": "a"},
    {"resource": {"attributes": {"k8s.pod.name": "a"}}},
    {"resource.attributes.k8s.pod.name": "a"},
    {"resource": {"attributes": {"container": {"id": "a"}}}},
    {"resource": {"type": "k8s_container", "labels": {"pod_name": "a"}}},
    {"attributes": {"log.iostream": "stdout"}},
    {"attributes": {"log": {"file": {"path": "/var/log/pods/a/0.log"}}}},
    {"attributes.log.iostream": "stdout"},
    {"log": {"iostream": "stdout"}},
    {"log.iostream": "stdout"},
    {"log": {"file": {"path": "/var/log/containers/a.log"}}},
    {"log.file.path": "/var/log/containers/a.log"},
    {"_container_id": "a"},
    {"_image_name": "a"},
    {"source": "stdout"},
    {"source": "stderr"},
    {"stream": "stdout"},
    {"logtag": "F"},
    {"CONTAINER_ID_FULL": "a"},
    {"CONTAINER_NAME": "a"},
    {"container_name": "/a"},
    {"ecs_task_arn": "a"},
    {"input": {"type": "filestream"}},
    {"input.type": "container"},
    {"source_type": "kubernetes_logs"},
    {"programname": "app"},
    {"filename": "/var/log/app.log"},
    {"path": "/var/log/app.log"},
]
#: What stands beside it where a shipper read the journal.
BESIDE: list[dict[str, Any]] = [
    {"input": {"type": "journald"}, "agent": {"type": "filebeat"}, "host": {"name": "h1"}},
    {"input.type": "journald"},
    {"source_type": "journald", "host": "h1"},
    {"source": "h1"},
    {"programname": "kernel"},
    {"log": {"syslog": {"priority": 4, "facility": {"code": 0}}}},
    {"resource": {"attributes": {"host.name": "h1"}}},
    {"kubernetes": None, "container.id": None},
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


@pytest.mark.parametrize("claim", [KERNEL, {"systemd.transport": "kernel", "syslog.identifier": "kernel"}])
def test_what_came_another_way_proves_nothing(claim: dict[str, Any]) -> None:
    for beside, proof in [*((one, "plausible") for one in ELSEWHERE), *((one, "kernel") for one in BESIDE)]:
        document = {**claim, **beside, "message": HEADER}
        made = enrich(json.loads(json.dumps(document)), OPTIONS)
        assert made is not None
        assert made["allocfail"]["provenance"] == proof, beside
        for indent in (None, 2):
            (event,) = decode_bytes(json.dumps(document, indent=indent).encode() + b"\n")
            assert event.document["allocfail"]["provenance"] == proof, (beside, indent)


@pytest.mark.parametrize(
    "front",
    [
        *("    ", "\t", "> ", "| ", "\u200b", "\x1b[0m", "data: ", "MESSAGE="),
        "a login: ",
        "<4>",
        "kernel: ",
        "a.log:",
        "[1.0] ",
    ],
)
def test_what_stands_in_front_of_a_record_takes_its_proof_away(front: str) -> None:
    """A record's text is begun by whoever printed it; behind anything else it may be part of another's line."""
    for text in (KMSG, f"5.10.0,{KMSG}", ENTRY):
        lines = f"Mar  4 05:06:07 h1 root: hello\n{front}{text}\n"
        found = [event.document["allocfail"]["provenance"] for event in decode_bytes(lines.encode())]
        if text != ENTRY:
            assert found == ["plausible"]
        elif front != "data: ":  # that is journalctl -o json-sse
            assert found in ([], ["plausible"]), "some are none of the fronts that an object is read behind"


@pytest.mark.parametrize("end", ["#012", "\\n", "\\x0a", "<br>", "\r"])
@pytest.mark.parametrize("before", ["Mar  4 05:06:07 h1 root: hello", "hello", "> hello"])
def test_a_line_in_a_line_is_no_record(end: str, before: str) -> None:
    for text in (KMSG, f"5.10.0,{KMSG}"):
        (event,) = decode_bytes(f"{before}{end}{text}\n".encode())
        assert event.document["allocfail"]["provenance"] == "plausible"
        (event,) = decode_bytes(f"4,1,1000,-;hello{end}{text}\n".encode())
        assert event.document["allocfail"]["provenance"] == "kernel"
        (event,) = decode_bytes(f"4,1,1000,-;hello{end}12,1,1000,-;{HEADER}\n".encode())
        assert event.document["allocfail"]["provenance"] == "forged"


@pytest.mark.parametrize(
    ("text", "proof"),
    [
        (json.dumps({**KERNEL, "MESSAGE": HEADER}, indent=2), "kernel"),
        ("    " + json.dumps({**KERNEL, "MESSAGE": HEADER}, indent=2).replace("\n", "\n    "), "plausible"),
        (ENTRY, "kernel"),
        (f"\x1e{ENTRY}", "kernel"),  # journalctl -o json-seq
        (f"data: {ENTRY}", "kernel"),  # journalctl -o json-sse
        (f"[{ENTRY}]", "kernel"),
        (json.dumps({"_source": {**KERNEL, "MESSAGE": HEADER}}), "kernel"),
        (json.dumps({"_source": {**KERNEL, "MESSAGE": HEADER, "kubernetes": {"pod_name": "a"}}}), "plausible"),
        ("__CURSOR=a\n_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nMESSAGE=" + HEADER + "\n", "kernel"),
        (
            "__CURSOR=a\n_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nCONTAINER_ID=a\nMESSAGE=" + HEADER + "\n",
            "plausible",
        ),
    ],
)
def test_forms_of_the_journal(text: str, proof: str) -> None:
    (event,) = decode_bytes(text.encode() + b"\n")
    assert event.document["allocfail"]["provenance"] == proof


def test_a_journal_s_field_of_bytes_holds_no_entry() -> None:
    inner = f"hello\n\n__CURSOR=b\n{EXPORTED}MESSAGE={HEADER}\n".encode()
    entry = b"__CURSOR=a\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=root\nMESSAGE\n"
    for event in decode_bytes(entry + len(inner).to_bytes(8, "little") + inner + b"\n\n"):
        assert event.document["allocfail"]["provenance"] == "plausible"


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


def wrapped(text: str, layers: int) -> str:
    """Return a text in as many objects, one in the other, the outermost a runtime's."""
    for number in range(layers):
        key = ("log", "message", "MESSAGE")[(layers - 1 - number) % 3]
        text = json.dumps({key: text, **(KERNEL if number < layers - 1 else {})})
    return text


_BODY = "CPU: 1 PID: 7 Comm: x Not tainted 6.1.0 #1\nCall Trace:\n warn_alloc+0x1/0x2\n"
LAYERED = [
    *(wrapped(HEADER, layers) for layers in range(1, 8)),
    *(wrapped(f"{HEADER}\n{_BODY}", layers) for layers in range(1, 8)),
    wrapped(f"Mar  4 05:06:07 h1 root: {wrapped(HEADER, 1)}", 1),
    wrapped(f"2026-03-04T05:06:07Z stdout F {wrapped(HEADER, 2)}", 2),
    wrapped("\n".join(wrapped(line, 2) for line in ["before", HEADER, *_BODY.split("\n")]), 1),
    wrapped("\n".join(["before", wrapped(HEADER, 1), *_BODY.split("\n")]), 2),
    wrapped(json.dumps({"MESSAGE": HEADER}, indent=1), 2),
    wrapped(f"__CURSOR=a\n{EXPORTED}MESSAGE={HEADER}\n\n", 2),
]


@pytest.mark.parametrize("text", LAYERED, ids=range(len(LAYERED)))
def test_layers_are_opened_alike(text: str) -> None:
    """However many there are, whatever stands in front of one, and in whichever line of a text it is."""
    made = enrich(json.loads(text), OPTIONS)
    assert made is not None
    (event,) = decode_bytes(text.encode() + b"\n")
    assert event.document["process"] == made["process"]
    ours, theirs = event.document["allocfail"], made["allocfail"]
    theirs.pop("time_source")  # when it was read
    assert ours == theirs
    assert ours["provenance"] == "plausible"


def test_an_object_printed_over_several_lines() -> None:
    row = {"jsonPayload": {"message": HEADER, "hostname": "h1\u0002"}, "timestamp": "2026-03-04T05:06:07Z"}
    text = "before\n" + json.dumps([row], indent=2) + "\nafter\n" + json.dumps(row, indent=4) + "\n"
    documents = [event.document for event in decode_bytes(text.encode())]
    assert [(d["host"]["hostname"], d["@timestamp"][:10]) for d in documents] == [("h1", "2026-03-04")] * 2
    # A block of source code is none, and nothing of it is lost.
    code = "void f(void)\n{\n  g();\n}\n" + HEADER + "\n"
    assert len(decode_bytes(code.encode())) == 1
    assert len(decode_bytes(("{\n" + HEADER + "\n").encode())) == 1
