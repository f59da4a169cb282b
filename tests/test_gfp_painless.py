"""The Painless port gives what the Python decoder gives, on both engines."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail import facts
from allocfail.content import content_path
from allocfail.decoder import gfp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine

SHARED = Path(__file__).parents[2] / "shared" / "kernel"
SEED = 20100601

# Decodes every case twice: the second time would show a table that the first has changed.
DRIVER = """
List results = new ArrayList();
for (def c : ctx.cases) {
  gfpDecode(params.gfp, c.mask, c.release, c.printed);
  results.add(gfpDecode(params.gfp, c.mask, c.release, c.printed));
}
ctx.results = results;
"""

RELEASES = [
    *("2.5.33", "2.6.0", "2.6.9-42.EL", "2.6.12", "2.6.18-8.el5", "2.6.31.5-nokmem", "2.6.32-431.el6.x86_64"),
    *("2.6.32-642.el6", "2.6.32-042stab120.11", "2.6.39-400.el6uek", "3.0", "3.10.0-837.el7", "3.10.0-838.el7.rt"),
    *(
        "3.10.0.el7",
        "3.10.108-1.el7.elrepo",
        "4.6-master+",
        "4.19-based",
        "4.20.17",
        "4.21",
        "5.13.x",
        "5.4.0-1.el8uek",
    ),
    *("5.13.0-rc5-next-20210611", "2.6.38-next-1", "5.14.0-427.el9_4", "v6.8", "V6.8.", "6.18.0-next-20251203", "7.4"),
    *("99.999.999", "100.1", "6.1000", "6.1.1000-5", "6.1-1234567.el9", "4.18.0-99999999.el8", "1.9", "", "foo", "5"),
    *("5.", ".5", "5..1", "5.1-", "5.1.-3", "\u0665.\u0664", "5.1\u0661", "-next-", "5.1-next-", " 5.1", "3.10.0-.el7"),
]
MASKS = [
    *("0x0", "0x20", "0XA20", "a20", "0x", "", "0x-1", "0x+1", " 0x1", "0x1 ", "2_0", "\u0662", "zz", "0x0x1", "X20"),
    *("0x1g", "0x1G", "0x1@", "0x1`", "0x1/", "0x1:"),
    *("0x7fffffffffffffff", "0x8000000000000000", "0xffffffffffffffff", "0x10000000000000000", "0x0" + "0" * 40 + "f"),
    *("0x1000cc0", "0x2100cca", "0x2000d0", "0xf000000", "0x1100cca", "0x3400040", "0x4352da", "0x41200"),
]
NAMES = [
    *("", "GFP_KERNEL", "GFP_ATOMIC", "GFP_HIGHUSER_MOVABLE", "GFP_TEMPORARY", "GFP_NOWAIT", "GFP_DMA", "GFP_FUTURE"),
    *("__GFP_ZERO", "__GFP_NOLOCKDEP", "__GFP_SKIP_KASAN", "__GFP_WAIT", "__GFP_FUTURE_9", "__GFP_", "__GFP_lower"),
    *("__GFP_\u0661", "0x20", "0x", "0xzz", "0x8000000000000000", "0X20", "nonsense", "\U0001f600", "a b"),
]


def case(mask: str, release: str | None, printed: list[str] | None) -> dict[str, Any]:
    return {"mask": mask, "release": release, "printed": printed}


def expected(each: dict[str, Any]) -> dict[str, Any]:
    printed = None if each["printed"] is None else tuple(each["printed"])
    return gfp.decode(each["mask"], release=each["release"], printed=printed).as_document()


def run(engine: Engine, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    source = content_path("pipelines/painless/gfp.painless").read_text(encoding="utf-8") + DRIVER
    script = {"lang": "painless", "source": source, "params": {"gfp": facts.load()["gfp"]}}
    body = {"pipeline": {"processors": [{"script": script}]}, "docs": [{"_source": {"cases": cases}}]}
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", body)
    assert status == 200, answer
    assert "doc" in answer["docs"][0], answer
    return answer["docs"][0]["doc"]["_source"]["results"]


def check(engine: Engine, cases: list[dict[str, Any]], size: int = 500) -> None:
    for start in range(0, len(cases), size):
        batch = cases[start : start + size]
        for each, result in zip(batch, run(engine, batch), strict=True):
            assert json.dumps(result, sort_keys=True) == json.dumps(expected(each), sort_keys=True), each


def spellings(rng: random.Random, mask: int) -> Iterator[list[str] | None]:
    """Yield no names, names that fit some kernel, and names that fit less and less."""
    yield None
    view = rng.choice(rng.choice(gfp._all_tables()).views)
    parts = gfp._spell(view, mask)
    yield parts
    text = "|".join(parts)
    yield text[: rng.randrange(len(text) + 1)].split("|")
    rng.shuffle(parts)
    yield [*parts[1:], rng.choice(NAMES)]
    yield rng.choices(NAMES, k=rng.randrange(5))


def test_every_table_with_random_masks(engine: Engine) -> None:
    rng = random.Random(SEED)
    cases = []
    for table in gfp._all_tables():
        release = table.label if table.build else table.until + ".0" * (table.until.count(".") < 2)
        for _ in range(6):
            view = rng.choice(table.views)
            mask = rng.choice([*view.values.values(), 0]) | rng.choice([0, 1 << rng.randrange(64), rng.getrandbits(28)])
            printed = [None, gfp._spell(view, mask), *spellings(rng, mask)]
            cases += [case(f"{mask:#x}", release, names) for names in printed]
    check(engine, cases)


def test_releases_and_masks_of_every_shape(engine: Engine) -> None:
    rng = random.Random(SEED)
    cases = [case(mask, release, None) for release in [None, *RELEASES] for mask in rng.sample(MASKS, 9)]
    cases += [case("0xa20", release, None) for release in RELEASES]
    for mask in MASKS:
        cases += [case(mask, rng.choice([None, *RELEASES]), rng.choices(NAMES, k=count)) for count in (0, 1, 1, 2, 4)]
    check(engine, cases)


def test_without_a_release(engine: Engine) -> None:
    rng = random.Random(SEED)
    masks = [rng.choice([rng.getrandbits(27), 1 << rng.randrange(64), rng.getrandbits(64)]) for _ in range(80)]
    check(engine, [case(f"{mask:#x}", None, names) for mask in masks for names in spellings(rng, mask)], size=150)


def test_a_list_of_names_as_long_as_a_line(engine: Engine) -> None:
    many = [f"__GFP_{number:X}" for number in range(20_000)]
    check(engine, [case("0x20", "6.8", many), case("0x20", None, many), case("0x" + "1" * 100_000, "6.8", None)])


def test_what_real_kernels_printed(engine: Engine) -> None:
    if not SHARED.exists():
        pytest.skip(f"NOT checked against what real kernels printed: no {SHARED}")
    cases = [
        case(each["mode"], each["kernel"], None) for each in json.loads((SHARED / "decode_cases.json").read_text())
    ]
    for line in (SHARED / "oracle_triples.jsonl").read_text(encoding="utf-8").splitlines():
        triple = json.loads(line)
        for printed in (None, triple["symbolic"].split("|")):
            cases += [case(triple["mode"], release, printed) for release in (triple["kernel"], None)]
    check(engine, cases)
