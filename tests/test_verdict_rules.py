"""A dump for every rule of ``kb/facts/verdict.yml``: a rule without one fails, as does one that decides elsewhere."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
import yaml

from allocfail.articles import articles
from allocfail.content import content_path
from allocfail.decoder import knowledge
from pieces import at, memory, only, page, trace

RULES = yaml.safe_load(content_path("kb/facts/verdict.yml").read_text(encoding="utf-8"))
#: The lists that are rules: of each the first that holds decides.
LISTS = {name: rows for name, rows in RULES.items() if isinstance(rows, list) and isinstance(rows[0], dict)}
SLEEPS = "0xcc0(GFP_KERNEL)"
OOM = ["app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"]
SLAB = [
    "SLUB: Unable to allocate memory on node -1, gfp=0x{}",
    "  cache: kmalloc-1024, object size: 1024, buffer size: 1024, default order: 1, min order: 0",
    "  node 0: slabs: 10, objs: 100, free: 0",
]
SLAB_ATOMIC = [SLAB[0].format("a20(GFP_ATOMIC)"), *SLAB[1:]]
SLAB_SLEEPS = [SLAB[0].format("cc0(GFP_KERNEL)"), *SLAB[1:]]
VMALLOC = ["app: vmalloc: allocation failure, allocated 4096 of 8192 bytes, mode:0xcc0(GFP_KERNEL)"]
STALL = page(0, SLEEPS, kind="stalls for 10001ms")
LARGE = memory(("1*4kB 1*8kB 1*16kB 1*32kB 1*64kB 1*128kB",))
SMALL = memory(("1*4kB 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB",))
SOFTIRQ = trace(outer=("__do_softirq", "irq_exit", "do_IRQ", "common_interrupt"))
#: A header whose mask no table can be chosen for: whether it may sleep is not known.
UNKNOWN = ["app: page allocation failure. order:0, mode:0x10"]


class Row(NamedTuple):
    """A dump that a rule decides, and what it then says."""

    dump: list[str]
    value: Any


#: Of every list a row a rule, in the rules' order. The value is the rule's, for remedies the beginning of the first.
ROWS: dict[str, list[Row]] = {
    "zone_reclaim": [
        Row(page(), "cannot-act"),
        Row(OOM, "cannot-act"),
        Row(VMALLOC, "unknown"),
        Row(page(1, SLEEPS), "may-hurt"),
        Row(page(0, SLEEPS, mem=memory()), "may-hurt"),
        Row(page(0, SLEEPS, mem=memory(nodes=2)), "may-help"),
        Row(UNKNOWN, "unknown"),
    ],
    "severity": [
        Row(OOM, "failed"),
        Row(VMALLOC, "failed"),
        Row(STALL, "degraded"),
        Row(page(body=SOFTIRQ), "degraded"),
        Row(page(), "unknown"),
    ],
    "cause": [
        Row(
            [*OOM, "Memory cgroup out of memory: Kill process 12 (a) score 9 or sacrifice child"], "memory-cgroup-limit"
        ),
        Row([*OOM, "Out of memory: Kill process 12 (a) score 9 or sacrifice child"], "out-of-memory"),
        Row(VMALLOC, "vmalloc"),
        Row(STALL, "stall"),
        Row(SLAB_ATOMIC, "slab"),
        Row(page(1, mem=SMALL), "atomic-fragmentation"),
        Row(page(1, mem=LARGE), "atomic-high-order"),
        Row(page(0), "atomic-reserve"),
        Row(page(4, SLEEPS), "costly-order"),
        Row(page(3, SLEEPS, mem=SMALL), "fragmentation"),
        Row(page(0, SLEEPS), "reclaim-failed"),
        Row(UNKNOWN, "unknown"),
    ],
    "remedies": [
        Row(page(1), "ask for less: smaller MTU"),
        Row(page(0), "raise vm.min_free_kbytes"),
        Row(page(1, SLEEPS), "ask for less contiguous memory"),
    ],
}
#: Where a list's decision and its sentence stand in the document.
FIELDS = {
    "zone_reclaim": ("zone_reclaim_mode", "zone_reclaim_reason", "reason"),
    "severity": ("severity", None, None),
    "cause": ("cause", "summary", "summary"),
    "remedies": ("remedies", None, None),
}
CASES = [(name, number) for name, rows in ROWS.items() for number in range(len(rows))]


def test_every_rule_has_a_row() -> None:
    assert {name: len(rows) for name, rows in LISTS.items()} == {name: len(rows) for name, rows in ROWS.items()}


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_rule_decides_its_dump(name: str, number: int) -> None:
    row, rule = ROWS[name][number], LISTS[name][number]
    verdict = at(only(row.dump), "allocfail.verdict")
    field, sentence, key = FIELDS[name]
    if name == "remedies":
        assert verdict[field] == rule["values"]
        assert verdict[field][0].startswith(row.value)
        return
    assert verdict[field] == row.value == rule["value"]
    if sentence is not None:
        pattern = re.sub(r"\\\{[a-z_]+\\\}", "[^{}]+", re.escape(rule[key]))
        assert re.fullmatch(pattern, verdict[sentence])


@pytest.mark.parametrize("may_sleep", [True, False])
@pytest.mark.parametrize("order", [0, 1, 3, 4])
def test_no_list_is_silent(order: int, may_sleep: bool) -> None:  # noqa: FBT001 - a test's parameter
    verdict = at(only(page(order, SLEEPS if may_sleep else "0xa20(GFP_ATOMIC)")), "allocfail.verdict")
    assert verdict["cause"] != "unknown"
    assert verdict["zone_reclaim_mode"] == {False: "cannot-act", True: "may-hurt" if order else "may-help"}[may_sleep]


def bounded() -> list[tuple[str, dict[str, Any]]]:
    rules = [(f"{name}[{number}]", rule) for name, rows in LISTS.items() for number, rule in enumerate(rows)]
    for item in articles.front_matter():
        rules += [(f"{item['id']}[{number}]", rule) for number, rule in enumerate(item["applies"])]
    return [(where, rule["when"]) for where, rule in rules if {"order_min", "order_max"} & rule["when"].keys()]


@pytest.mark.parametrize(("where", "when"), bounded(), ids=[where for where, _ in bounded()])
def test_the_bounds_of_an_order(where: str, when: dict[str, Any]) -> None:
    least, most = when.get("order_min"), when.get("order_max")
    others = {
        name: wanted[0] if isinstance(wanted, list) else wanted
        for name, wanted in when.items()
        if name not in {"order_min", "order_max"}
    }
    inside = least if least is not None else most
    assert knowledge.holds(when, {**others, "order": inside}), where
    assert not knowledge.holds(when, others), f"{where}: without an order"
    if least is not None:
        assert not knowledge.holds(when, {**others, "order": least - 1})
    if most is not None:
        assert knowledge.holds(when, {**others, "order": most})
        assert not knowledge.holds(when, {**others, "order": most + 1})
    for name in others:
        missing = {key: value for key, value in others.items() if key != name}
        assert not knowledge.holds(when, {**missing, "order": inside}), f"{where}: without {name}"


def test_a_condition_that_an_event_lacks_fails() -> None:
    assert knowledge.holds({"numa": False}, {"numa": False})
    assert not knowledge.holds({"numa": False}, {})
    assert not knowledge.holds({"kind": ["a", "b"]}, {"kind": "c"})
    assert knowledge.holds({"kind": ["a", "b"]}, {"kind": "b"})


def test_a_sentence_holds_the_event_s_own_numbers() -> None:
    own = only(page(3, SLEEPS, mem=SMALL))["allocfail"]
    assert own["verdict"]["summary"].startswith("A request for 8 contiguous pages")
    assert "2^3 pages" in own["verdict"]["zone_reclaim_reason"]
