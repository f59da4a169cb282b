"""Documents of any shape through the ingest pipelines, by indexing them: none lost, all as Python makes them."""

from __future__ import annotations

import json
import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest

import simulate
from allocfail.cluster import templates
from allocfail.painless import pipelines
from dumpgen import PREFIXES, generate
from dumpgen.prefixes import WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine

HEADER = "swapper/0: page allocation failure: order:1, mode:0x20(GFP_ATOMIC), nodemask=0"
LINE = f"<4>Feb 14 15:24:15 svn3 kernel: [12.345678] {HEADER}"
DUMP = f"""{HEADER}
CPU: 0 PID: 0 Comm: swapper/0 Not tainted 5.15.0-1-amd64 #1
Call Trace:
 <IRQ>
 dump_stack+0x41/0x60
 warn_alloc+0x12/0x120
 __alloc_pages+0x1a/0x20
 sk_prot_alloc+0x1a/0x20
 __do_softirq+0xc1/0x2c0
 </IRQ>"""
BIG = "18446744073709551615"
VMALLOC = "mysqld: vmalloc: allocation failure, allocated 4096 of {} bytes\n"
PAIR = VMALLOC + "mysqld: page allocation failure: order:0, mode:0x20"
OOM = "a invoked oom-killer: gfp_mask=0x20, order=0\nTask in {0} killed as a result of limit of /{0}"
Documents = dict[str, dict[str, Any]]

#: A value of every kind that JSON has.
VALUES: list[Any] = [
    *(None, 0, 1, -1, 1.5, True, False, "", " ", "alloc", "oom-killer", [], {}, [None], [[]], 2**62, 1e300),
    *([HEADER, HEADER], {"alloc": HEADER}, [{"message": HEADER}]),
    *({"original": HEADER}, {"original": {"original": HEADER}}, {"original": [HEADER]}),
]  # fmt: skip
FIELDS = ("message", "event.original", "log.original", "body", "MESSAGE", "log", "event", "host")


def nested(depth: int) -> Any:
    value: Any = {"leaf": HEADER}
    for _ in range(depth):
        value = {"a": value}
    return value


def shapes() -> Documents:
    """Documents whose fields are of any type, without an event in them or with one."""
    made: Documents = {}
    for field in FIELDS:
        for number, value in enumerate(VALUES):
            made[f"{field} is {number}"] = {field: value}
            if field != "message":
                made[f"{field} is {number} beside an event"] = {field: value, "message": DUMP}
    for field in ("allocfail", "tags", "host", "log", "event", "process", "error", "rule", "related", "@timestamp"):
        for number, value in enumerate(["text", 7, [], ["x"], {}, {"x": 1}, None, [{"a": 1}]]):
            made[f"there is {field} {number}"] = {"message": LINE, field: value}
    return made


def kept() -> Documents:
    """Documents that have what the pipeline would write."""
    mine: dict[str, Any] = {
        "ecs": {"ecs.version": "8.0", "event": {"kind": "metric", "module": "system"}, "host": {"name": "collector"}},
        "host": {"host": {"hostname": "collector", "os": {"kernel": "2.6.32-431.el6.x86_64", "name": "CentOS"}}},
        "same host": {"host": {"hostname": "svn3"}, "related": {"hosts": ["other"]}},
        "related": {"related": {"hosts": ["svn3", "other"]}},
        "related text": {"related": {"hosts": "other"}},
        "time": {"@timestamp": "2020-01-01T00:00:00Z"},
        "tags": {"tags": ["a", "kernel-allocation-failure"]},
        "tag": {"tags": "kernel-allocation-failure"},
        "other tag": {"tags": "a"},
        "fingerprint": {"allocfail": {"fingerprint": {"id": "af1:1"}}},
        "fingerprint text": {"allocfail": {"fingerprint": "x"}},
        "dotted fingerprint": {"allocfail.fingerprint.id": "af1:1", "allocfail.fingerprint": {"id": "x"}},
        "part": {"allocfail": {"order": 9, "gfp": {"mask": "0x1"}, "trace": "none"}},
        "dotted": {
            "event.kind": "alert",
            "host.hostname": "collector",
            "allocfail.gfp.mask": "0x2",
            "log.file.path": "/a",
        },
        "dotted objects": {"event.original": "no such words", "host.os": {"kernel": "3.10.0"}, "error.id": "mine"},
        "dotted below": {"allocfail.order.text": "x", "error.stack_trace.lines": 3},
        "original": {"event": {"original": LINE, "outcome": "unknown"}, "log": {"original": "else"}},
        "rule": {"rule": {"id": "mine", "name": "theirs"}},
        "process": {"process": {"pid": 77, "name": "rsyslogd"}},
    }
    return {name: {"message": LINE, **more} for name, more in mine.items()} | {
        f"{name}, whole": {"message": DUMP, **more} for name, more in mine.items()
    }


def extremes() -> Documents:
    """Documents of a size or with characters that are nobody's."""
    long = "x" * 40_000
    texts = {
        "vmalloc beyond a long": PAIR.format(BIG),
        "vmalloc at the limit": PAIR.format(2**63 - 1),
        "vmalloc with thousands of digits": PAIR.format("9" * 5000),
        "stall beyond a long": f"a: page allocation stalls for {BIG}ms, order:0, mode:0x20(GFP_ATOMIC), nodemask=0",
        "order above 63": "a: page allocation failure: order:64, mode:0x20",
        "order 63": "a: page allocation failure: order:63, mode:0x20",
        "a huge order": f"a: page allocation failure: order:{BIG}, mode:0x20",
        "comm of 40 kB": f"{long}: page allocation failure: order:1, mode:0x20",
        "cache of 40 kB": f"SLUB: Unable to allocate memory on node -1 (gfp=0x20)\n  cache: {long}, object size: 1",
        "hardware of 40 kB": f"{DUMP}\nHardware name: {long}\nWorkqueue: {long}",
        "function of 40 kB": f"{DUMP}\n {long}+0x1/0x2",
        "release of 40 kB": DUMP.replace("5.15.0", f"5.15.0{long}"),
        "nodemask of 40 kB": f"{HEADER.removesuffix('0')}{long}",
        "memcg of 40 kB": OOM.format(long),
        "host of 40 kB": f"Feb 14 15:24:15 {long} kernel: {HEADER}",
        "controls": "".join(map(chr, range(32))) + HEADER + "\x00\x1b[31m\x7f\u0085\u2028",
        "no characters": "\x00\n\x00" + HEADER.replace("page", "pa\x00ge"),
        "lone surrogates": f"\ud800{HEADER}\udfff \ud800\ud800 \U0001f4a5",
        "lone surrogate in the comm": "a\ud800b: page allocation failure: order:1, mode:0x20",
        "emoji": "\U0001f4a5\U0001f4a5: page allocation failure: order:1, mode:0x20 \U0001f4a5",
        "a megabyte": (LINE + "\n") * (999_990 // (len(LINE) + 1)),
        "a megabyte of dumps": (DUMP + "\n") * (999_990 // (len(DUMP) + 1)),
        "more than a megabyte": "x" * 1_000_000 + "\n" + LINE,
        "a megabyte of newlines": "\n" * 999_000 + HEADER,
        "20000 newlines": "\n" * 19_990 + DUMP,
        "a line of a megabyte": "alloc " * 150_000 + HEADER,
        "a line of a megabyte behind": HEADER + " alloc" * 150_000,
        "a quarter of a megabyte of blanks": " " * 260_000 + HEADER,
        "a quarter of a megabyte of digits": HEADER + "\n" + "1" * 260_000,
        "a quarter of a megabyte of brackets": HEADER + "\n" + "[" * 260_000,
        "a quarter of a megabyte of quotes": HEADER + "\n" + '"' * 130_000 + "{" * 130_000,
        "a quarter of a megabyte of JSON": HEADER + '\n{"a":' * 40_000 + "}" * 40_000,
        "deep JSON": HEADER + "\n" + '{"message":' * 5000 + "1" + "}" * 5000,
        "written line ends": "#012".join([HEADER, *(f" f{n}+0x1/0x2" for n in range(15_000))]),
    }
    return {name: {"message": value} for name, value in texts.items()} | {
        "deep": {"message": DUMP, "deep": nested(18)},
        "many fields": {"message": DUMP, "many": {f"f{n}": n for n in range(100)}},
    }


def lines() -> Documents:
    """One line a document, as most shippers deliver them, behind every prefix."""
    made: Documents = {}
    for prefix in PREFIXES:
        dump = generate(random.Random(prefix), kind="page", prefix=prefix, era="5.15")
        for number, line in enumerate(dump.lines[:4]):
            made[f"{prefix} {number}"] = {"message": line, "host": {"os": {"kernel": "5.15.0-1-amd64"}}}
    assert len(WRITERS) == len(PREFIXES)
    return made


class Index:
    """An index of its own, and what was put into it."""

    def __init__(self, engine: Engine, body: dict[str, Any]) -> None:
        self.engine = engine
        self.name = f"documents-{uuid.uuid4().hex[:12]}"
        settings = {"number_of_replicas": 0, **body.pop("settings", {})}
        self.request("PUT", "", {"settings": settings, **body})

    def request(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.engine.request(method, f"/{self.name}{path}", body)
        assert status in (200, 201), str(answer)[:2000]
        return answer

    def add(self, documents: Documents, parameters: str = "") -> dict[str, str]:
        """Index documents; return why those that were rejected were, by name."""
        rejected: dict[str, str] = {}
        batch: list[tuple[str, str]] = []
        for name, document in documents.items():
            batch.append((name, json.dumps({"index": {"_id": name}}) + "\n" + json.dumps(document) + "\n"))
            if len(batch) == 50 or sum(len(text) for _, text in batch) > 4_000_000 or len(batch) == len(documents):
                self._send(batch, parameters, rejected)
        self._send(batch, parameters, rejected)
        return rejected

    def _send(self, batch: list[tuple[str, str]], parameters: str, rejected: dict[str, str]) -> None:
        if batch:
            answer = self.request("POST", f"/_bulk?refresh=true{parameters}", "".join(text for _, text in batch))
            for (name, _), item in zip(batch, answer["items"], strict=True):
                if "error" in item["index"]:
                    rejected[name] = json.dumps(item["index"]["error"])[:500]
        batch.clear()

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/_doc/{name.replace(' ', '%20')}")["_source"]
        return found


@pytest.fixture
def made(engine: Engine) -> Iterator[Any]:
    """Make indices; they go away afterwards."""
    simulate.put(engine)
    names: list[str] = []

    def make(**body: Any) -> Index:
        index = Index(engine, body)
        names.append(index.name)
        return index

    yield make
    for name in names:
        engine.request("DELETE", f"/{name}")


def mappings() -> dict[str, Any]:
    """Return the mappings that `allocfail install` composes."""
    properties: dict[str, Any] = {}
    for component in templates.build(missing=templates.mapping_types()).components.values():
        properties |= component["template"]["mappings"]["properties"]
    return {"dynamic": False, "properties": properties}


def compare(index: Index, documents: Documents) -> None:
    wrong: list[str] = []
    for name, document in documents.items():
        got = index.get(name)
        wanted = simulate.python(document)
        if json.dumps(got).count("\\ud") != json.dumps(wanted).count("\\ud"):
            # An engine may write a lone half of a surrogate pair as a question mark, an event or not.
            wanted = json.loads(json.dumps(wanted).encode("utf-8", "replace"))
        if simulate.comparable(wanted) != simulate.comparable(got):
            wrong.append(f"## {name}\n" + "\n".join(simulate.difference(wanted, got)[:8]))
    assert not wrong, "\n".join(wrong)[:8000]


@pytest.mark.parametrize("group", [shapes, kept, extremes, lines])
def test_indexed_and_as_python_makes_them(made: Any, group: Any) -> None:
    documents: Documents = group()
    # Mapped as nothing: what an engine then rejects, it rejects for what it is.
    index = made(mappings={"enabled": False})
    assert index.add(documents, "&pipeline=allocfail") == {}
    compare(index, documents)


@pytest.mark.parametrize("group", [shapes, kept, extremes, lines])
def test_no_mapping_rejects_what_it_took_without_the_pipeline(made: Any, group: Any) -> None:
    documents: Documents = group()
    plain, through = made(mappings=mappings()), made(mappings=mappings())
    before = plain.add(documents)
    rejected = through.add(documents, "&pipeline=allocfail")
    assert {name: why for name, why in rejected.items() if name not in before} == {}
    assert len(before) < len(documents) / 2


def test_no_template_is_needed(made: Any) -> None:
    documents = extremes() | lines()
    index = made(settings={"index.mapping.total_fields.limit": 2000})
    assert index.add(documents, "&pipeline=allocfail") == {}
    found = index.request("POST", "/_search", {"query": {"match": {"allocfail.vmalloc.bytes_text": BIG}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["vmalloc beyond a long"]


def test_running_twice_changes_nothing(made: Any) -> None:
    documents = shapes() | kept() | lines()
    once = made(mappings={"enabled": False})
    once.add(documents, "&pipeline=allocfail")
    first = {name: once.get(name) for name in documents}
    again = made(mappings={"enabled": False})
    assert again.add(first, "&pipeline=allocfail") == {}
    assert {name: again.get(name) for name in documents} == first


def test_as_default_and_as_final_pipeline_behind_itself(made: Any) -> None:
    documents = kept() | lines()
    settings = {"index.default_pipeline": "allocfail", "index.final_pipeline": "allocfail"}
    index = made(mappings={"enabled": False}, settings=settings)
    assert index.add(documents) == {}
    compare(index, documents)


def test_without_regular_expressions(engine_without_regex: Engine) -> None:
    simulate.put(engine_without_regex)
    documents = [*kept().values(), *lines().values(), *extremes().values()]
    simulate.check(engine_without_regex, documents)


def test_the_release_comes_from_the_document_where_the_text_has_none(made: Any) -> None:
    header = {"message": "swapper: page allocation failure. order:1, mode:0x20"}
    index = made(mappings={"enabled": False})
    release = "2.6.32-431.el6.x86_64"
    index.add({"with": {**header, "host": {"os": {"kernel": release}}}, "without": header}, "&pipeline=allocfail")
    own = index.get("with")["allocfail"]
    assert (own["gfp"]["decoded_by"], own["gfp"]["name"], own["complete"]) == ("table", "GFP_ATOMIC", False)
    assert own["incomplete_reason"] == "header only"
    assert own["fingerprint"]["level"] == "header"
    assert own["kb"]
    # A period behind the words is of kernels that agree on this mask.
    gfp = index.get("without")["allocfail"]["gfp"]
    assert (gfp["decoded_by"], gfp["name"], gfp["table"]) == ("table", "GFP_ATOMIC", "2.6.0-2.6.39, 2.6.32-642.el6")


def test_the_collectors_host_stays_and_the_lines_is_found(made: Any) -> None:
    index = made(mappings={"enabled": False})
    document = {"message": LINE, "host": {"hostname": "collector", "name": "collector"}}
    index.add({"relayed": document, "own": {"message": LINE}}, "&pipeline=allocfail")
    relayed = index.get("relayed")
    assert relayed["host"] == document["host"]
    assert relayed["log"]["syslog"]["hostname"] == "svn3"
    assert relayed["related"]["hosts"] == ["collector", "svn3"]
    own = index.get("own")
    assert own["host"]["hostname"] == "svn3"
    assert "hostname" not in own["log"]["syslog"]


@pytest.mark.parametrize("step", [0, 1, -1])
def test_a_failure_keeps_the_document_and_says_so(engine: Engine, made: Any, step: int) -> None:
    body = pipelines.build(engine.product)["allocfail-event"]
    script = [processor["script"] for processor in body["processors"] if "script" in processor][step]
    script["source"] = "throw new IllegalArgumentException('for a test');"
    try:
        status, answer = engine.request("PUT", "/_ingest/pipeline/allocfail-event", body)
        assert status == 200, answer
        index = made(mappings={"enabled": False})
        documents: Documents = {
            "plain": {"message": DUMP, "tags": ["mine"]},
            "event is text": {"message": DUMP, "event": "theirs", "error": "theirs"},
            "other": {"message": "nothing"},
        }
        assert index.add(documents, "&pipeline=allocfail") == {}
        got = index.get("plain")
        assert got["message"] == DUMP
        assert got["event"] == {"kind": "pipeline_error"}
        assert got["tags"] == ["mine", "allocfail-pipeline-error"]
        assert set(got) == {"message", "event", "tags", "error", "allocfail"}
        message = got["error"]["message"]
        assert got["allocfail"] == {"error": message}
        # The Elasticsearch of these tests comes without the module that fills templates.
        if engine.product == "opensearch":
            assert f"tag '{script['tag']}' failed with message 'for a test'" in message
        else:
            assert message.startswith("Processor '")
        text = index.get("event is text")
        assert {name: text[name] for name in documents["event is text"]} == documents["event is text"]
        assert index.get("other") == documents["other"]
    finally:
        simulate.put(engine)
