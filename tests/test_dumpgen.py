"""The dump generator itself: it reaches every format, repeats itself by seed, prints what the kernel's formats say."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from dumpgen import ARCHES, KERNELS, KINDS, PREFIXES, TANGLES, generate, masks, reports, tangles, write_dumps, write_log
from dumpgen.kernels import data, used_formats

SHARED = Path(__file__).parents[2] / "shared" / "kernel"

# The one expression of a header that accepts every release's.
HEADER = re.compile(
    r"^(?P<comm>.{1,16}): page allocation failure[.:] order:(?P<order>\d+), mode:(?P<mode>0x[0-9a-f]+)"
    r"(\((?P<names>[^)]*)\))?(, ?nodemask=(?P<nm>[^ ]+?))?(,cpuset=(?P<cs>[^,]*),mems_allowed=(?P<ma>.*))?$"
)


def test_same_seed_same_dump() -> None:
    for seed in range(50):
        first, second = (generate(random.Random(seed), prefix=None) for _ in range(2))
        assert (first.text, first.events) == (second.text, second.events)


def test_every_format_is_reached() -> None:
    every = {(topic, f"{row['since']}/{row['text']}") for topic, rows in data("formats").items() for row in rows}
    # No vmalloc report existed beside the first wording of vmap's own line.
    never = {pair for pair in every if pair[0] == "vmap"}
    for seed in range(30):
        for kernel in KERNELS:
            for kind in KINDS:
                if reports.possible(kernel, kind) and (seed < 1 or kind in {"page", "vmalloc", "slub", "oom"}):
                    reports.write(random.Random(seed), kernel, kind, reports.Settings(mem=seed < 1))
        if every - never <= used_formats:
            return
    assert every - never - used_formats == set()


@pytest.mark.parametrize("arch", ARCHES)
def test_every_architecture_prints_a_trace(arch: str) -> None:
    for seed in range(20):
        dump = generate(random.Random(seed), arch=arch, kind="page")
        told = dump.truth["allocfail"]["trace"]
        assert len(told["functions"]) == len(told["reliable"]) > 1
        joined = "\n".join(dump.bare)
        assert all(function in joined for function in told["functions"])


def test_headers_are_what_every_release_prints() -> None:
    for seed in range(300):
        dump = generate(random.Random(seed), kind="page")
        found = [match for line in dump.bare if (match := HEADER.match(line))]
        assert len(found) == 1
        told = dump.truth["allocfail"]
        assert int(found[0]["order"]) == told["order"]
        assert found[0]["mode"] == told["gfp"]["mask"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_keeps_the_text(prefix: str) -> None:
    for seed in range(10):
        dump = generate(random.Random(seed), prefix=prefix)
        assert len(dump.lines) >= len(dump.records)
        assert dump.bare[0].split("\n")[0][:40] in dump.text.replace('\\"', '"')


@pytest.mark.parametrize("tangle", TANGLES)
def test_every_tangle_changes_the_log_and_keeps_the_words(tangle: str) -> None:
    era = "5.10" if tangle in {"symbolised", "decoded"} else "2.6.32"
    dump = generate(random.Random(3), kind="page", prefix="printk", era=era, arch="x86_64")
    words = [word.split("+0x")[0] for line in dump.bare for word in line.split() if "<" not in word]
    before = dump.text
    assert tangles.apply(random.Random(3), dump, tangle)
    assert dump.tangles == [tangle]
    assert dump.text != before
    plain = (
        dump.text.replace("\u00a0", " ")
        .replace("#012", " ")
        .replace("\\n", " ")
        .replace("\x1b[K", " ")
        .replace("<br>", "")
    )
    plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert {word.strip("[]") for word in words} <= {word.split("+0x")[0].strip("[]") for word in plain.split()}


def test_free_lists_add_up() -> None:
    for seed in range(100):
        dump = generate(random.Random(seed), kind="page", mem=True, era="4.4")
        for line in dump.bare:
            if "*4kB" in line and " = " in line:
                cells = re.findall(r"(\d+)\*(\d+)kB", line)
                assert sum(int(count) * int(size) for count, size in cells) == int(line.rsplit("= ", 1)[1][:-2])


def test_names_are_what_the_kernel_prints_for_a_mask() -> None:
    kernel = next(kernel for kernel in KERNELS if kernel.base == (4, 10))
    # From the Ubuntu 4.10 kernels' logs and the 4.10 tables.
    assert masks.printed(kernel, 0x1284020) == "GFP_ATOMIC|__GFP_COMP|__GFP_NOTRACK"
    assert masks.printed(kernel, 0) == ""
    old = next(kernel for kernel in KERNELS if kernel.distribution == "el6")
    assert masks.name_of(old, 0x20) == "GFP_ATOMIC"
    assert masks.flags_of(old, 0x4020) == ["__GFP_COMP", "__GFP_HIGH"]
    assert not masks.may_sleep(old, 0x20)


def _raw(name: str) -> str:
    path = SHARED / "formats_raw" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the formats cannot be held against the kernel's own")
    return path.read_text(encoding="utf-8")


def _shape(line: str) -> str:
    """A format without what its conversions are called: ``{order}``, ``%d`` and ``%lu`` are all one mark."""
    line = line.replace("KB", "%luKB") if line.endswith("KB") or ":KB" in line else line
    line = re.sub(r"(?<=[:? ])(K|N|Y)(?= |$)", lambda m: {"K": "%lukB", "N": "%lu", "Y": "%s"}[m[1]], line)
    line = re.sub(r"\{[^}]*\}|0x1000|%pGg|%#?0?\d*l*[a-zA-Z]|%\*pbl", "¶", line)
    return line.replace("0x¶", "¶").replace("¶(¶)", "¶").strip()


@pytest.mark.parametrize(
    ("topic", "raw"),
    [("slub", "slub"), ("slub_node", "slub"), ("slub_debug", "slub"), ("slab", "slab"),
     ("slab_node", "slab"), ("vmalloc", "vmalloc"),
     ("counters", "show_free_areas"), ("zone", "show_free_areas"), ("swap", "swap"), ("tail", "mem")],
)  # fmt: skip
def test_formats_stand_in_the_kernel(topic: str, raw: str) -> None:
    text = _raw(raw).replace("%s%s", "%s").replace("\\\\n", "\n").replace("\\n", "\n")
    known = {_shape(line.strip(" '\"")) for line in text.split("\n")}
    missing = [
        line
        for row in data("formats")[topic]
        for line in ([row["text"]] if isinstance(row["text"], str) else row["text"])
        if _shape(line) not in known
    ]
    if topic == "tail":
        # The form before lib/show_mem.c was each architecture's own.
        missing = [line for line in missing if line not in data("formats")["tail"][0]["text"]]
    if topic == "swap":
        missing = [line for line in missing if "race" not in line]
    if topic == "vmalloc":
        missing = [line for line in missing if "Retrying" not in line and "vm_struct" not in line]
    if topic == "zone":
        # Up to 2.6.31 the field for unevictable pages was a piece of its own.
        missing = [line for line in missing if "unevictable" not in line or "isolated" in line]
    if topic == "counters":
        missing = [line for line in missing if "inactive_file:N unevictable" not in line]
    assert missing == []


def test_big_logs_have_their_size_and_events(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    written = write_log(path, 3_000_000, events=7)
    content = path.read_bytes()
    assert len(content) == written
    assert 2_900_000 < written < 3_300_000
    assert content.count(b"page allocation failure") == 7
    assert content.endswith(b"\n")
    assert write_dumps(path, 120, different=5) == path.stat().st_size
    assert path.read_bytes().count(b"page allocation failure") == 120
