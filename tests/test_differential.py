"""Python and the ingest pipelines give the same document: the same canonical JSON, on both engines."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import real
import simulate
import test_prefixes
import test_provenance
from allocfail.logs.events import decode_bytes
from dumpgen import KINDS, PREFIXES, TANGLES, generate
from dumpgen.mutate import mutate

if TYPE_CHECKING:
    from engines.harness import Engine

SHARED = Path(__file__).parents[2] / "shared"
SEED = 20_110_214


@pytest.fixture
def pipelines(engine: Engine) -> Engine:
    simulate.put(engine)
    return engine


@cache
def corpus() -> tuple[str, ...]:
    files = real.posted()
    if not files:
        pytest.skip(f"NOT compared over real logs: no {SHARED}")
    return tuple(file.read_text("utf-8", "replace") for file in files)


def text(document: str) -> dict[str, Any]:
    return {"message": document}


@cache
def shipped(count: int, start: int, *, tangled: bool) -> tuple[str, ...]:
    """Return dumps as `count` machines wrote them, every prefix among them."""
    dumps = []
    for number in range(count):
        rng = random.Random(start + number)
        if tangled:
            # Not every kind and prefix can carry a tangle: whichever is drawn that can.
            dump = generate(rng, prefix=None, tangle=rng.choice(TANGLES))
        else:
            dump = generate(rng, kind=KINDS[number % len(KINDS)], prefix=PREFIXES[number % len(PREFIXES)])
        dumps.append(dump.text)
    return tuple(dumps)


def damaged(texts: tuple[str, ...], count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        one, other = rng.choice(texts).encode(), rng.choice(texts).encode()
        made.append(text(mutate(rng, one, other, mixing=rng.random() < 0.5).decode("utf-8", "replace")))
    return made


AT = "Aug 25 22:16:16 db-01 kernel: "
#: Where Java counts or reckons in another way than Python: characters beyond U+FFFF, numbers beyond 2^63.
LONG = ["h" * 4096, "h" * 4097, "\U0001f4a5" * 4096, "\U0001f4a5" * 4097, "7" * 40_000]
APART = [
    "\n".join(
        [
            f"{AT} dump_stack+0x14b/0x470",
            f"{AT} warn_alloc+0x18/0xd0",
            f"{AT} ? lock_acquire+0x10/0x20",
            "Aug\U0001f4a5 25 22:16:16 db-01 kernel:  __vmalloc_node_range+0x18/0x60",
            f"{AT} __vmalloc_node+0x2/0x20",
        ]
    ),
    *(
        f"{AT}app: vmalloc error: size {size}, page order 0, failed to allocate pages, mode:0xcc0(GFP_KERNEL)"
        for size in (2**63 - 1, 2**63, 2**63 + 5, 2**64 - 4096, 2**64 - 1, 2**64)
    ),
    *(f"Aug 25 22:16:16 {name} kernel: app: page allocation failure. order:1, mode:0x20" for name in LONG),
    *(
        f"{AT}page allocation failure: order:1, mode:0x20\n{AT}CPU: 1 PID: 1 Comm: {name} Not tainted 6.1.1 #1"
        for name in LONG
    ),
    *(
        f"{AT}SLUB: Unable to allocate memory on node 0 (gfp=0x20)\n{AT}  cache: {name}, object size: 64"
        for name in LONG
    ),
    *(
        f"{AT}app: page allocation failure. order:1\n{AT}CPU: 1 PID: 1 Comm: a Not tainted 6.1.{name} #1"
        for name in LONG
    ),
]


def test_where_the_languages_differ(pipelines: Engine) -> None:
    simulate.check(pipelines, map(text, APART))
    hosts = [{"message": APART[-1], field: name} for name in LONG for field in ("host", "_HOSTNAME", "host.name")]
    simulate.check(pipelines, [*hosts, *({"message": APART[-1], "host": {"name": name}} for name in LONG)])


def test_provenance_and_tags(pipelines: Engine) -> None:
    claims = [{**test_provenance.KERNEL, **one} for one in (*test_provenance.ELSEWHERE, *test_provenance.BESIDE)]
    header = {"message": test_provenance.HEADER}
    documents = [one for one, _ in test_provenance.DOCUMENTS] + [{**one, **header} for one in claims]
    nested = [{"log": json.dumps(one) + "\n"} for one in documents]
    dump = test_provenance.HEADER + "\nCPU: 1 PID: 7 Comm: x Not tainted 6.1.0 #1\nCall Trace:\n warn_alloc+0x1/0x2\n"
    tagged = [
        text("\n".join(prefix(number) + line for number, line in enumerate(dump.split("\n"))))
        for prefix in test_prefixes.TAGGED.values()
    ]
    simulate.check(pipelines, [*documents, *nested, *tagged, *map(json.loads, test_provenance.LAYERED)])
    assert {simulate.python(one)["process"]["name"] for one in tagged} == {"x"}


def test_every_log_that_people_posted(pipelines: Engine) -> None:
    documents = [text(log) for log in corpus()]
    simulate.check(pipelines, documents)
    assert sum("fingerprint" in str(simulate.python(d).get("allocfail")) for d in documents) > len(documents) * 0.9


def test_every_event_of_those_logs(pipelines: Engine) -> None:
    events = [event.document["event"]["original"] for log in corpus() for event in decode_bytes(log.encode())]
    simulate.check(pipelines, map(text, events))
    # A document that holds the event twice, as ECS pipelines leave it.
    both = [{"message": event, "event": {"original": event}} for event in events[:20]]
    simulate.check(pipelines, both)


def test_every_line_of_those_logs(pipelines: Engine) -> None:
    lines = [line for log in corpus() for line in log.split("\n") if "alloc" in line or "oom-killer" in line]
    simulate.check(pipelines, map(text, lines))


def test_dumps_with_every_prefix(pipelines: Engine) -> None:
    dumps = shipped(500, SEED, tangled=False)
    simulate.check(pipelines, map(text, dumps))
    found = [simulate.python(text(dump)) for dump in dumps]
    assert sum("allocfail" in one for one in found) > len(dumps) * 0.95


def test_dumps_that_mail_terminals_and_other_machines_tangled(pipelines: Engine) -> None:
    simulate.check(pipelines, map(text, shipped(500, SEED + 1000, tangled=True)))


def test_damaged_dumps(pipelines: Engine) -> None:
    simulate.check(pipelines, damaged(shipped(200, SEED + 2000, tangled=False), 1000, SEED))


def test_damaged_logs_that_people_posted(pipelines: Engine) -> None:
    short = tuple(log for log in corpus() if len(log) < 60_000)
    simulate.check(pipelines, damaged(short, 500, SEED))
