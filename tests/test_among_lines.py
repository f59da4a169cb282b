"""An event is read alike by itself and among the lines of real logs, whatever they look like."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dumpgen
from allocfail.logs.events import Options, decode_bytes

if TYPE_CHECKING:
    from allocfail.logs.events import Event

LOGS = Path(__file__).parents[1] / ".." / "shared" / "logs"
FILES = sorted(LOGS.glob("*.log"))
OPTIONS = Options(year=2026)

#: What stands in front of a kernel's line, with a place for the time.
PREFIXES = (
    "",
    "[{}] ",
    "<4>[{}] ",
    "Mar  4 05:06:07 box kernel: [{}] ",
    "Mar  4 05:06:07 a-longer-host-name kernel: ",
    "2024-03-04T05:06:07.123456+01:00 db-01 kernel: [{}] ",
    "[Mon Mar  4 05:06:07 2024] ",
    "4,1234,567890123,-;",
    "kernel: ",
    "box kernel: ",
)
MASKS = ("0x20", "0x4020", "0x280da", "0xa20(GFP_ATOMIC)", "0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)")

pytestmark = pytest.mark.skipif(not FILES, reason="NOT tested: ../shared/logs is not there")


def _shown(event: Event) -> tuple[Any, ...]:
    ours = event.document["allocfail"]
    return (
        event.document.get("process", {}).get("name"),
        event.document.get("host", {}).get("name"),
        *(ours.get(name) for name in ("kind", "order", "complete", "memory", "slab")),
        ours["fingerprint"]["id"],
    )


def _read(text: str) -> list[tuple[Any, ...]]:
    return sorted((_shown(event) for event in decode_bytes(text.encode("utf-8", "replace"), OPTIONS)), key=repr)


def _among(chance: random.Random, log: Path, text: str) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    at = chance.randrange(20, len(lines) - 20)
    return "\n".join([*lines[at - 20 : at], text.rstrip("\n"), *lines[at : at + 20]]) + "\n"


def _header(chance: random.Random) -> tuple[str, str | None, int | None]:
    """Write a line that is an event by itself; return it with its task and its order."""
    name = "k" + "".join(chance.choice("abcdefgh0123/:-_") for _ in range(chance.randrange(13))).rstrip(":-/")
    order, mask = chance.randrange(11), chance.choice(MASKS)
    bare = mask.split("(")[0]
    rest = chance.choice(["", ", nodemask=(null)", ", nodemask=(null),cpuset=/,mems_allowed=0"])
    return chance.choice(
        [
            (f"{name}: page allocation failure. order:{order}, mode:{bare}", name, order),
            (f"{name}: page allocation failure: order:{order}, mode:{mask}{rest}", name, order),
            (f"{name}: page allocation stalls for {order}0001ms, order:{order}, mode:{mask}", name, order),
            (f"{name} invoked oom-killer: gfp_mask={mask}, order={order}, oom_score_adj=0", name, order),
            (f"Out of memory: Kill process {order + 1} ({name}) score {order} or sacrifice child", None, None),
            (f"SLUB: Unable to allocate memory on node {order - 1} (gfp={bare})", None, None),
            ("vmap allocation for size 8192 failed: use vmalloc=<size> to increase size.", None, None),
        ]
    )


@pytest.mark.parametrize("log", FILES, ids=lambda log: log.stem)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_a_line_of_its_own(log: Path, seed: int) -> None:
    chance = random.Random(seed)
    text, name, order = _header(chance)
    time = f"{chance.randrange(10 ** chance.randrange(1, 8)):5}.{chance.randrange(10**6):06}"
    found = _read(_among(chance, log, chance.choice(PREFIXES).format(time) + text))
    assert [(event[0], event[3]) for event in found] == [(name, order)]


@pytest.mark.parametrize("log", FILES, ids=lambda log: log.stem)
@given(seed=st.integers(0, 2**32), prefix=st.sampled_from(sorted(dumpgen.PREFIXES)))
@settings(max_examples=10, deadline=None)
def test_a_whole_dump(log: Path, seed: int, prefix: str) -> None:
    chance = random.Random(seed)
    dump = dumpgen.generate(chance, prefix=prefix)
    assert _read(_among(chance, log, dump.text)) == _read(dump.text)
