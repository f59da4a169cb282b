"""What shippers deliver, faults and unknown prefixes, through the pipelines: the same document as in Python."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

import simulate
from corpora import SHARED
from dumpgen import KERNELS, reports
from test_evidence import OLD
from test_prefixes import BEFORE_KNOWN, CLOSED, HEADER, WITHOUT
from test_provenance import DOCUMENTS

if TYPE_CHECKING:
    from engines.harness import Engine
    from test_prefixes import Prefix


@pytest.fixture
def pipelines(engine: Engine) -> Engine:
    simulate.put(engine)
    return engine


def same(engine: Engine, documents: list[dict[str, Any]]) -> None:
    for document, got in zip(documents, simulate.run(engine, documents), strict=True):
        wanted = simulate.python(document)
        assert simulate.comparable(got) == simulate.comparable(wanted), (
            str(document)[:300],
            simulate.difference(wanted, got)[:10],
        )


def test_what_shippers_deliver(pipelines: Engine) -> None:
    path = SHARED / "carriers.ndjson"
    if not path.is_file():
        pytest.skip(f"NOT compared over real documents: no {path}")
    same(pipelines, [json.loads(line)["document"] for line in path.read_text(encoding="utf-8").splitlines()])


def test_faults(pipelines: Engine) -> None:
    logs = sorted((SHARED / "faults").glob("*.log"))
    if not logs:
        pytest.skip(f"NOT compared over faults: no {SHARED}")
    same(pipelines, [{"message": log.read_text(encoding="utf-8")} for log in logs])


def test_unknown_prefixes(pipelines: Engine) -> None:
    shapes: dict[str, tuple[Prefix, str]] = {name: (make, "") for name, make in {**BEFORE_KNOWN, **WITHOUT}.items()}
    documents: list[dict[str, Any]] = []
    for name, (before, behind) in {**shapes, **CLOSED}.items():
        rng = random.Random(name)
        dump = reports.write(rng, rng.choice(KERNELS), "page", reports.Settings())
        lines = [line for record in dump.records for line in record.text.split("\n")]
        documents.append({"message": "".join(f"{before(n)}{line}{behind}\n" for n, line in enumerate(lines))})
        documents.append({"message": before(1) + HEADER + behind})
        documents.append({"message": f"- {before(1)}{HEADER}{behind}\nnothing\n"})
    same(pipelines, documents)


def test_proofs_and_evidence(pipelines: Engine) -> None:
    lines = [
        "Out of memory: Killed process 7 (app) total-vm:1kB, oom_score_adj:0",
        "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,cpuset=c,task_memcg=/a,task=app (1),pid=7,uid=0",
        "Apr  2 06:15:11 1024 kernel: [ 3410198.7] app: page allocation failure: order:1, mode:0x20",
        "Mär 04 05:06:07 h1 kernel: app: page allocation failure. order:1, mode:0x20",
        "[ 1.0] app: page allocation failure: order:5, mode:0xcc0(G=\nFP_KERNEL), nodemask=3D(null),cpuset=3D/\n",
    ]
    documents: list[dict[str, Any]] = [document for document, _ in DOCUMENTS]
    documents += [{"message": line} for line in lines]
    documents += [{"message": "\n".join(OLD), "host": {"os": {"kernel": "2.6.18-8.el5"}}}]
    documents += [{"message": " ".join(OLD)}, {"message": HEADER, "process": {"name": "kernel", "pid": ""}}]
    same(pipelines, documents)
