"""The Painless ports of the single steps (frames, traces, fingerprints, headers, banners) give what Python gives."""

from __future__ import annotations

import dataclasses
import json
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import real
from allocfail import facts
from allocfail.content import content_path
from allocfail.decoder import banner, fingerprint, header, trace
from allocfail.logs import reading
from allocfail.painless.pipelines import SOURCE_LIMIT, script_facts
from dumpgen import generate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engines.harness import Engine

SHARED = Path(__file__).parents[2] / "shared"
SEED = 20081001
SOURCES = ("text", "trace", "fingerprint", "header")
KINDS = (
    "page_allocation_failure",
    "page_allocation_stall",
    "slab_allocation_failure",
    "vmalloc_allocation_failure",
    "oom_kill",
)

LINES = """
List results = new ArrayList();
for (def text : ctx.cases) {
  Map result = new HashMap();
  hdPut(result, "frames", trFrames(text, params.facts));
  hdPut(result, "banner", hdBanner(text));
  Map header = hdParse(text);
  hdPut(result, "header", header);
  hdPut(result, "more", header == null ? null : hdContinue(header, ctx.tail));
  results.add(result);
}
ctx.results = results;
"""
TRACES = """
List results = new ArrayList();
for (def c : ctx.cases) {
  Map builder = trBuilder();
  for (def line : c.lines) {
    List frames = trFrames(line, params.facts);
    if (frames != null) {
      trAdd(builder, line, frames, params.facts);
    }
  }
  Map trace = trBuild(builder, c.old, params.facts);
  Map kept = fpKeep(trace, params.facts);
  Map result = new HashMap();
  result.put("builder", builder);
  result.put("ends", trEnds(builder, params.facts));
  result.put("trace", trace);
  result.put("kept", kept);
  result.put("mark", fpFingerprint(c.kind, c.order, c.comm, c.cache, c.constraint, c.victim, kept));
  results.add(result);
}
ctx.results = results;
"""
NAMES = """
List results = new ArrayList();
for (def name : ctx.cases) {
  results.add(String.join(" ", [
    trNormalise(name, params.facts), fpComm(name), fpCache(name), fpSafe(name), "" + trIsDump(name, params.facts),
    "" + trIsFailure(name, params.facts), "" + trIsPage(name, params.facts)
  ]));
}
ctx.results = results;
"""


def source(names: Sequence[str]) -> str:
    return "\n".join(content_path(f"pipelines/painless/{n}.painless").read_text(encoding="utf-8") for n in names)


@cache
def table() -> dict[str, Any]:
    return script_facts(["frames", "wording"])


def run(engine: Engine, driver: str, cases: Sequence[Any], **more: Any) -> list[Any]:
    script = {"lang": "painless", "source": source(SOURCES) + driver, "params": {"facts": table()}}
    body = {"pipeline": {"processors": [{"script": script}]}, "docs": [{"_source": {"cases": cases, **more}}]}
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", body)
    assert status == 200, answer
    assert isinstance(answer, dict)
    assert "doc" in answer["docs"][0], answer
    results: list[Any] = answer["docs"][0]["doc"]["_source"]["results"]
    assert len(results) == len(cases)
    return results


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def present(value: Any) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(value).items() if v is not None}


def frame(each: trace.Frame) -> dict[str, Any]:
    found: dict[str, Any] = {"function": each.function, "reliable": each.reliable}
    for name in ("module", "marker"):
        if getattr(each, name) is not None:
            found[name] = getattr(each, name)
    for name, value in (("pointer", each.pointer), ("callee", each.callee), ("unmarked", each.style != "plain")):
        if value:
            found[name] = True
    return found


def header_map(each: header.Header) -> dict[str, Any]:
    found = present(each)
    if "stalled_ms" in found:
        found["stalled_ms"] = str(found["stalled_ms"])
    return found


def of_line(text: str, tail: str) -> dict[str, Any]:
    frames, head, said = trace.parse_frames(text), header.parse_header(text), banner.parse_banner(text)
    found: dict[str, Any] = {}
    if frames is not None:
        found["frames"] = [frame(f) for f in frames]
    if said is not None:
        found["banner"] = present(said)
    if head is not None:
        found["header"] = header_map(head)
        more = header.continue_header(head, tail)
        if more is not None:
            found["more"] = header_map(more)
    return found


def check_lines(engine: Engine, lines: Iterable[str], tail: str = ", mode:0x20(GFP_ATOMIC), nodemask=0") -> int:
    """Compare line by line; return how many lines were something."""
    cases = [line for line in dict.fromkeys(lines) if len(line) <= 8000]
    something = 0
    for start in range(0, len(cases), 10_000):
        batch = cases[start : start + 10_000]
        for text, result in zip(batch, run(engine, LINES, batch, tail=tail), strict=True):
            wanted = of_line(text, tail)
            assert canonical(result) == canonical(wanted), text
            something += bool(wanted)
    return something


def case(rng: random.Random, lines: list[str]) -> dict[str, Any]:
    def name() -> str | None:
        return rng.choice([None, "", odd_name(rng), odd_name(rng)])

    return {
        "lines": lines,
        "old": rng.random() < 0.5,
        "kind": rng.choice(KINDS),
        "order": rng.choice([None, 0, 1, 9, 10**18 - 1]),
        "comm": name(),
        "cache": name(),
        "constraint": rng.choice(["CONSTRAINT_NONE", "CONSTRAINT_MEMCG", None, name()]),
        "victim": name(),
    }


def of_trace(c: dict[str, Any]) -> dict[str, Any]:
    builder = trace.TraceBuilder()
    for line in c["lines"]:
        frames = trace.parse_frames(line)
        if frames is not None:
            builder.add(line, frames)
    whole = builder.build(old_release=c["old"])
    kept = fingerprint.keep(whole)
    mark = fingerprint.fingerprint(
        c["kind"],
        order=c["order"],
        comm=c["comm"],
        cache_=c["cache"],
        constraint=c["constraint"],
        victim=c["victim"],
        kept=kept,
    )
    return {
        "builder": {
            "lines": builder.lines,
            "frames": [frame(f) for f in builder.frames],
            "boundary": builder.boundary,
            "nmi": builder.nmi,
            "bannerless": builder.bannerless,
        },
        "ends": whole.outermost,
        "trace": {
            **{k: v for k, v in dataclasses.asdict(whole).items() if k != "context" or v is not None},
            "guessed": whole.guessed,
            "selected": whole.selected(),
            "names": [trace.normalise(f) for f in whole.functions],
        },
        "kept": {"names": kept.names, "modules": kept.modules, "site": kept.site},
        "mark": {
            "id": mark.id,
            "version": fingerprint.VERSION,
            "level": mark.level,
            "text": mark.text,
            "title": mark.title,
            "header": {"id": mark.header_id, "text": mark.header_text},
        },
    }


def check_traces(engine: Engine, cases: list[dict[str, Any]]) -> None:
    for start in range(0, len(cases), 300):
        batch = cases[start : start + 300]
        for each, result in zip(batch, run(engine, TRACES, batch), strict=True):
            assert canonical(result) == canonical(of_trace(each)), each


@cache
def logs() -> tuple[tuple[str, ...], ...]:
    """The lines, without prefixes, of every log that people posted; nothing where they are not at hand."""
    files = real.posted()
    return tuple(tuple(r.text for r in reading.records([f.read_bytes()]) if r.text) for f in files)


@cache
def generated() -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(r.text for r in reading.records([generate(random.Random(seed)).text.encode()]) if r.text)
        for seed in range(SEED, SEED + 300)
    )


@cache
def interesting() -> tuple[str, ...]:
    """Lines worth changing: those that are something, once each."""
    lines = dict.fromkeys(line for log in (*generated(), *logs()) for line in log)
    return tuple(line for line in lines if of_line(line, ""))


PIECES = [
    *("[<", ">]", "[", "]", "[]", "[<>]", "<", ">", "(", ")", "{", "}", "([", "? ", "?", " ", "  ", "+", "+0x", "/0x"),
    *("0x", "0", "00", "1f", "c0123456", "ffffffff81133f2c", "FFFFFFFF81133F2C", "0123456789abcdef0", "1234567", "990"),
    *(
        "warn_alloc_failed",
        "f",
        ".kmem_alloc",
        "sk_prot_alloc",
        "__do_softirq",
        "do_IRQ",
        "sys_open",
        "page_fault",
        "_",
    ),
    *("$a", "x.isra.0", ":", ":nfs:", "::", "nfs", " [nfs]", " [nfs 0a1b]", " [nf-s ]", "[inline]", " [inline]"),
    *("+0x1c/0x20", "+0x0/0x20", "+0x20/0x20", "+0x0020/0x20", "+0xAB/0xab", "+0x1/", " from ", "from ", ") from [<"),
    *("(unreliable)", "(C)", "(AB) ", "mm/slab.c:12", "a:b:3", ":3", "a:", "Call Trace:", "Call trace:", "Backtrace:"),
    *(
        " (mm/slub.c:12)",
        " (a.c:1 (discriminator 3))",
        " (discriminator ",
        " (??:?)",
        " (a:",
        " nfs",
        " veid: 101",
        " ve: 2",
    ),
    *("--- interrupt", "--- Exception: 901", ",", ".", "\t", "\u00e9", "\U0001f600", "\u0663", "=", "Node 0", "4kB"),
    *(
        ": ",
        ": page allocation ",
        "failure. order:",
        "failure: order:",
        "failure",
        "stalls for ",
        "ms, order:",
        "order:",
    ),
    *(", mode:", "mode:", "GFP_ATOMIC", "(GFP_KERNEL|__GFP_NOWARN)", "|", ", nodemask=", "nodemask=", "(null)"),
    *(",cpuset=", "cpuset=", ",mems_allowed=", "mems_allowed=", "0-3,5", "0,", ", order=", "order=", "/user.slice"),
    *("vmalloc", "vmalloc: allocation failure: ", "vmalloc: allocation failure, allocated ", " of ", " bytes", "bytes"),
    *("vmalloc error: size ", ", ", "page order ", "align 0x", "failed to allocate pages", " failed: ", "vmap "),
    *("vmap allocation for size ", "vmap allocation failed: use vmalloc=", "vmalloc_node_range for size ", "-", "-1"),
    *("SLUB: Unable to allocate memory on ", "SLAB: Unable to allocate memory on ", "node ", "CPU ", ") on node "),
    *(
        " (gfp=",
        ", gfp=",
        " invoked ",
        "oom-killer: ",
        "gfp_mask=",
        "oom-killer: gfp_mask=",
        "oom_score_adj=",
        "swapper",
    ),
    *(
        "oom_adj=",
        "oomkilladj=",
        "CPU: ",
        "Pid: ",
        " PID: ",
        ", comm: ",
        " Comm: ",
        " UID: ",
        " Not tainted",
        " Tainted: ",
    ),
    *(
        "G",
        "P--W",
        "G   W  ",
        "O E",
        "x",
        " Kdump: loaded",
        "3.10.0",
        "#1",
        "1234567890123456789",
        "98765432109876543210",
    ),
]
NAME_PIECES = [
    *(".", "_", "-", "#", "/", ":", "[", "(", "0", "12", "7", " ", "a", "kworker", "ksoftirqd", "kmalloc-rnd-", "-1k"),
    *("_noprof", ".isra.3", ".constprop.0", "sys_", "SyS_", "SYSC_", "__x64_sys_", "__do_compat_sys_", "warn_alloc"),
    *("dump_stack", "__alloc_pages", "\u00e9", "\U0001f600", "\ufffd", "$", "@", "+", "\t", "\x00", "`", "{", ";", "'"),
]


LIMITS = [
    *(f"{comm}: page allocation failure: order:1, mode:0x20" for comm in ("a" * 15, "a" * 16, "\u00e9" * 7 + "a")),
    *(
        f"{comm}: page allocation failure: order:1, mode:0x20"
        for comm in ("\u00e9" * 8, "\u20ac" * 5, "\u20ac" * 5 + "a")
    ),
    *(f"{comm}: page allocation failure: order:1, mode:0x20" for comm in ("\U0001f600" * 3 + "abc", "\U0001f600" * 4)),
    *(f"a: page allocation failure: order:{'9' * count}, mode:0x20" for count in (18, 19, 20, 21)),
    *(f"a: page allocation failure: order:0, mode:0x{'f' * count}" for count in (16, 17)),
    *(f"a: page allocation failure: order:0, mode:0x20(GFP_ATOMIC){end}" for end in ("[", "", "(")),
    *(
        f"a: page allocation failure: order:0, mode:0x20(GFP_ATOMIC){end}nodemask=0"
        for end in ("[", ",", " ", ".", "a")
    ),
    *(f"a: page allocation stalls for {ms}ms, order:0" for ms in ("0", "000", "012", "9" * 20, "9" * 21)),
    *(f"a: vmalloc error: size 1, page order {'7' * count}, failed" for count in (18, 19)),
    *("a: vmalloc_node_range for size 5 failed: x", "vmalloc_node_range for size 5 failed: x"),
    *(
        f"a invoked oom-killer: gfp_mask=0x0, order={'1' * count}, oom_adj={'-' * (count % 2)}{'2' * (count - 13)}"
        for count in (18, 19, 20)
    ),
    *("a invoked oom-killer: gfp_mask=0x0, oom_score_adj=-, oom_adj=3", "a" * 16 + " invoked oom-killer: gfp_mask=0x0"),
    *(f"CPU: {'1' * count} PID: 1 Comm: a Not tainted 3.0" for count in (10, 11)),
    *(f"SLUB: Unable to allocate memory on node {'-' * (count % 2)}{'1' * count} (gfp=0x20)" for count in (18, 19)),
    *(f"[{'c' * count}] f+0x1/0x2" for count in (7, 8, 16, 17)),
    *(f"{{f+{digits}}}" for digits in ("0", "000", "1", "", "0x1", "\u0663")),
    *(
        f"f ({place}"
        for place in ("a.c:1)", "0/b.c:1)", "00/b.c:1)", "a.c:)", ":1)", "??:?)", "a.c:1 (discriminator 3)) nfs")
    ),
    *(f"f+0x1/0x2 {place}" for place in ("a.c:1", "a\u00e9.c:1", "\u0100:1", ":1", "a:", "a.c:1 g+0x1/0x2")),
]
BRACKETS = [
    *(f"[{word}+0x1/0x2] [{word}+0x1/0x2]" for word in ("a" * 9, "a" * 10, "a" * 11, "a" * 12)),
    *(f"[{'a' * count}\U0001f600+0x1/0x2] [a+0x1/0x2] a+0x1/0x2" for count in range(6, 13)),
    *("[c0123456] [c0123456] f+0x1/0x2", "[<ffffffff81133f2c>] [<ffffffff81133f2c>] f+0x1/0x2", "[c0123456] f+0x1/0x2"),
]


def odd_name(rng: random.Random) -> str:
    return "".join(rng.choices(NAME_PIECES, k=rng.randrange(6)))


def changed(rng: random.Random, line: str) -> str:
    """Change a line a little: cut, doubled, moved, with something put in or left out."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, other = sorted(rng.randrange(len(line) + 1) for _ in range(2))
        way = rng.randrange(7)
        if way == 0:
            line = line[:at]
        elif way == 1:
            line = line[at:]
        elif way == 2:
            line = line[:at] + line[at + rng.randrange(1, 4) :]
        elif way == 3:
            line = line[:at] + rng.choice(PIECES) + line[at + rng.randrange(3) :]
        elif way == 4:
            line = line[:at] + rng.choice("[]<>(){}?+/:,.-_ xX09afAF\u00e9\U0001f600") + line[at + 1 :]
        elif way == 5:
            line = line[:at] + line[other:]
        else:
            line += " " + rng.choice(interesting())
    return line[:2000]


def test_every_line_that_people_posted(engine: Engine) -> None:
    if not logs():
        pytest.skip(f"NOT checked against real logs: no {SHARED}")
    assert check_lines(engine, (line for log in logs() for line in log)) > 1000


def test_every_line_that_kernels_print(engine: Engine) -> None:
    assert check_lines(engine, (line for log in generated() for line in log)) > 1000


def test_changed_lines(engine: Engine) -> None:
    rng = random.Random(SEED)
    assert check_lines(engine, (changed(rng, rng.choice(interesting())) for _ in range(12_000))) > 1000


@pytest.mark.parametrize(
    "opening",
    [
        "",
        "f+0x1c/0x20",
        "[<c0123456>] (warn_alloc_failed+0x1c/0x20) from [<c0123456>] ",
        "swapper/0: page allocation failure: order:1, mode:0x20",
        "[c000000001234567] [c000000001234567] .",
        "a: vmalloc",
        "vmalloc: allocation failure",
        "a invoked oom-killer: gfp_mask=0x20",
        "SLUB: Unable to allocate memory on node",
        "CPU: 0 PID: 1 Comm: ",
        "Pid: 1, comm: ",
        "Pid: 1, comm: a ve",
        "Pid: 1, comm: a Not tainted (2.6.18",
        "f (mm/slub.c:12",
    ],
)
def test_lines_of_any_pieces(engine: Engine, opening: str) -> None:
    rng = random.Random(opening)
    lines = [opening + "".join(rng.choices(PIECES, k=rng.randrange(1, 12))) for _ in range(3000)]
    check_lines(
        engine, lines, tail=rng.choice((", mode:0x20(GFP_", "mode:0x20, nodemask=1", "0x1 cpuset=/", "0xmode:0x3"))
    )


def test_limits(engine: Engine) -> None:
    check_lines(engine, [*LIMITS, *BRACKETS])
    check_traces(engine, [case(random.Random(SEED), [line]) for line in [*LIMITS, *BRACKETS]])


def test_headers_that_go_on(engine: Engine) -> None:
    rng = random.Random(SEED)
    torn = [
        f"{name}: page allocation {what}:1{end}"
        for name in ("a", "b c/0")
        for what in ("failure: order", "failure. order", "stalls for 12ms, order")
        for end in ("", ",", ", mode:", "[")
    ]
    tails = [", mode:0x20", "mode:0x20(GFP_ATOMIC)", "0x20, nodemask=(null),cpuset=/,mems_allowed=0", "x", "0xmode:0x2"]
    for tail in [*tails, *(changed(rng, rng.choice(tails)) for _ in range(8))]:
        assert check_lines(engine, torn, tail=tail) == len(torn)


def test_traces(engine: Engine) -> None:
    rng = random.Random(SEED)
    whole = [list(log) for log in generated()]
    whole += [list(log[at : at + 150]) for log in logs() for at in range(0, len(log), 150)]
    check_traces(engine, [case(rng, lines) for lines in whole])


def test_traces_of_any_frames(engine: Engine) -> None:
    rng = random.Random(SEED)
    known = facts.load()["frames"]
    groups = [
        *known["plumbing"].values(),
        *(known[k] for k in ("entry", "softirq", "interrupt", "process", "outermost")),
    ]
    markers = [m for group in facts.load()["wording"]["markers"].values() for m in group]
    cases = []
    for _ in range(1500):
        lines = []
        for _ in range(rng.randrange(14)):
            name = rng.choice((rng.choice(rng.choice(groups)), f"mine_{rng.randrange(4)}", odd_name(rng)))
            name = (
                rng.choice(("", "", "", ".", "__x64_sys_", "SyS_")) + name + rng.choice(("", "", "_noprof", ".part.0"))
            )
            offset = rng.choice(("+0x1/0x2", "+0x1/0x2", "+0x0/0x2", "+0x2/0x2"))
            place = rng.choice(("", "[<c0123456>] ", "[c0123456] [c0123456] ", rng.choice(markers) + " "))
            module = rng.choice(("", "", " [nfs]", " [ext4]", " (unreliable)"))
            lines.append(rng.choice(("", "", "? ")) + place + rng.choice(("", "", "? ")) + name + offset + module)
            if rng.random() < 0.1:
                lines.append(rng.choice((*markers, "--- interrupt: 501", "Call Trace:", "Call trace:")))
            if rng.random() < 0.1:
                lines.append(f"[<c0123456>] ({name}) from [<c0123456>] (mine_{rng.randrange(4)}{offset})")
        cases.append(case(rng, lines))
    check_traces(engine, cases)


def test_names(engine: Engine) -> None:
    rng = random.Random(SEED)
    names = ["", "/", "//", "[a", "a/b:c", "\U0001f600/1", *(odd_name(rng) for _ in range(4000))]
    for name, result in zip(names, run(engine, NAMES, names), strict=True):
        checks = (trace.is_dump_frame, trace.is_failure_frame, trace.is_page_frame)
        wanted = [
            trace.normalise(name),
            *(f(name) for f in (fingerprint.comm_name, fingerprint.cache_name, fingerprint.safe)),
        ]
        assert result == " ".join([*wanted, *(str(check(name)).lower() for check in checks)]), name


def test_the_longest_lines_are_within_the_loop_limit(engine: Engine) -> None:
    pieces = (
        "[",
        "(",
        "<",
        "{",
        "?",
        " a:1",
        "f+0x1/0x2 ",
        "[]",
        "([",
        ": page allocation ",
        "a: vmalloc",
        "(A)",
        "] +0x",
    )
    lines = [
        (start + piece * 8000)[:8000] for piece in pieces for start in ("", "a", "f+0x1/0x2 ", "a: ", "Pid: 1, comm: ")
    ]
    check_lines(engine, lines)


def test_what_a_script_needs_of_them_is_not_too_long() -> None:
    assert len(source(SOURCES).encode()) < SOURCE_LIMIT
