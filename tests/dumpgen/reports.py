"""Whole reports: header, banner, trace, Mem-Info and what follows, of every kind, with the truth about each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dumpgen import identity, masks, traces
from dumpgen.kernels import data, fill, formats, render
from dumpgen.memory import mem_info
from dumpgen.model import Dump, Event, Kernel, Line

if TYPE_CHECKING:
    import random

__all__ = ["KINDS", "Settings", "possible", "write"]

KINDS = ["page", "stall", "vmalloc", "slub", "slab", "oom", "page+slub"]


class Settings:
    """Choices that a caller may fix; everything left open is drawn."""

    def __init__(self, *, comm: str | None = None, mem: bool | None = None, klogd: bool = False) -> None:
        self.comm = comm
        self.mem = mem
        self.klogd = klogd


def possible(kernel: Kernel, kind: str) -> bool:
    """Whether this kernel prints this kind at all."""
    if kind == "stall":
        return kernel.at_least("4.9") and not kernel.at_least("4.14")
    if kind == "vmalloc":
        return bool(formats(kernel, "vmalloc"))
    if kind == "slab":
        return kernel.at_least("3.4") and not kernel.at_least("6.4")
    if kind in {"slub", "page+slub"}:
        return kernel.at_least("2.6.31")
    if kind == "oom":
        return kernel.at_least("2.6.12")
    return True


class _Report:
    """One report being written: the kernel, the task, and the records so far."""

    def __init__(self, rng: random.Random, kernel: Kernel, settings: Settings) -> None:
        vocabulary = data("traces")
        self.rng = rng
        self.kernel = kernel
        self.settings = settings
        self.comm = settings.comm or rng.choice(vocabulary["comms"])
        self.cpu = rng.randrange(64)
        self.pid = 0 if self.comm.startswith("swapper") else rng.randrange(1, 4_000_000)
        self.uid = rng.choice((0, 0, 1000, 65534))
        self.nodemask = rng.choice(("(null)", "(null)", "0", "0-1", "0,2"))
        self.cpuset = rng.choice(("/", "/", "machine.slice", "openrc.swap", "/user.slice/a b"[:11]))
        self.mems = rng.choice(("0", "0", "0-1", "0,2-3"))
        self.records: list[Line] = []

    def add(self, lines: list[str], part: str, event: int = 0) -> None:
        self.records.extend(Line(line, part, event) for line in lines)

    def values(self, mask: int, order: int | None) -> dict[str, Any]:
        return {
            "comm": self.comm,
            "order": order,
            "mask": hex(mask),
            "names": masks.printed(self.kernel, mask) if self.kernel.at_least("4.6") else "",
            "nodemask": self.nodemask,
            "cpuset": self.cpuset,
            "mems": self.mems,
        }

    def gfp_truth(self, mask: int) -> dict[str, Any]:
        """The truth about a mask, apart from what needs the release to be known."""
        truth: dict[str, Any] = {"mask": hex(mask)}
        if self.kernel.at_least("4.6") and mask:
            truth["name"] = masks.printed(self.kernel, mask)
            truth["decoded_by"] = "kernel"
        return truth

    def release_truth(self, mask: int) -> dict[str, Any]:
        """What the table of a known release adds."""
        if not self.kernel.at_least("2.6.12"):
            return {}
        truth: dict[str, Any] = {
            "flags": masks.flags_of(self.kernel, mask),
            "may_sleep": masks.may_sleep(self.kernel, mask),
        }
        name = masks.name_of(self.kernel, mask)
        if name:
            truth["name"] = name
        truth["decoded_by"] = "kernel" if self.kernel.at_least("4.6") else "table"
        return truth

    def banner(self, truth: dict[str, Any], absent: list[str]) -> bool:
        """Write the banner; returns whether this kernel prints one."""
        rng, kernel = self.rng, self.kernel
        if kernel.family != "x86" and not kernel.at_least("3.10"):
            absent += ["host.os.kernel", "process.pid", "allocfail.tainted"]
            return False
        taint, letters, flags = self._taint()
        buildid = f" {rng.getrandbits(160):040x}" if kernel.at_least("5.14") and rng.random() < 0.2 else ""
        preempt = rng.choice((" PREEMPT(full)", " PREEMPT(voluntary)", "")) + " " if kernel.at_least("6.16") else ""
        kdump = rng.choice(("", "", "Kdump: loaded "))
        lines = render(
            kernel, "banner", pid=self.pid, comm=self.comm, taint=taint, release=kernel.release,
            cpu=self.cpu, uid=self.uid,
            kdump=kdump, buildid=buildid, preempt=preempt.rstrip() + (" " if preempt.strip() else ""),
        )  # fmt: skip
        if kernel.distribution == "openvz":
            # OpenVZ names the container behind the task.
            lines = [line.replace(f"comm: {self.comm} ", f"comm: {self.comm} veid: {self.uid} ") for line in lines]
        if not lines:
            absent += ["host.os.kernel", "process.pid", "allocfail.tainted"]
            return False
        truth["process"]["pid"] = self.pid
        truth["host"] = {"os": {"kernel": kernel.release}}
        truth["allocfail"]["tainted"] = letters
        self.add(lines, "banner")
        if kernel.at_least("6.12"):
            truth["process"]["user"] = {"id": str(self.uid)}
        if kernel.at_least("3.10"):
            truth["allocfail"]["cpu"] = self.cpu
            if flags and kernel.at_least("6.12"):
                words = {
                    "W": "WARN",
                    "O": "OOT_MODULE",
                    "E": "UNSIGNED_MODULE",
                    "P": "PROPRIETARY_MODULE",
                    "C": "CRAP",
                    "D": "DIE",
                }
                self.add(["Tainted: " + ", ".join(f"[{flag}]={words[flag]}" for flag in flags)], "banner")
            if rng.random() < 0.85:
                hardware = rng.choice(data("traces")["hardware"])
                truth["allocfail"]["hardware"] = hardware
                self.add([f"Hardware name: {hardware}"], "banner")
            else:
                absent.append("allocfail.hardware")
            if self.comm.startswith("kworker") and rng.random() < 0.8:
                workqueue = rng.choice(data("traces")["workqueues"])
                truth["allocfail"]["workqueue"] = workqueue
                self.add([f"Workqueue: {workqueue}"], "banner")
            else:
                absent.append("allocfail.workqueue")
        return True

    def _taint(self) -> tuple[str, str, list[str]]:
        """The printed taint string, the letters as the document has them, and the letters set."""
        rng, kernel = self.rng, self.kernel
        if rng.random() < 0.5:
            return "Not tainted", "Not tainted", []
        # kernel/panic.c, print_tainted(): one position a flag, blank where unset; the first is G or P.
        positions = "GFSRMBUDAW"
        for since, more in (("2.6.30", "C"), ("2.6.36", "I"), ("3.2", "O"), ("3.15", "E"), ("3.17", "L"), ("4.0", "K")):
            positions += more if kernel.at_least(since) else ""
        choices = [flag for flag in "PWCOED" if flag in positions or flag == "P"]
        flags = rng.sample(choices, rng.randrange(1, min(3, len(choices)) + 1))
        text = "P" if "P" in flags else "G"
        text += "".join(flag if flag in flags else " " for flag in positions[1:])
        dashes = {
            "el5": "      ",
            "el6": " ---------------   ",
            "el7-514": " ------------  ",
            "el7-1160": " ------------  ",
            "el8": " --------- -  ",
        }
        letters = " ".join(text.split())
        ordered = [flag for flag in "P" + positions[1:] if flag in flags]
        return f"Tainted: {text}{dashes.get(kernel.distribution, '')}", letters, ordered

    def trace(
        self, truth: dict[str, Any], absent: list[str], warn: str, caller: dict[str, Any] | None = None
    ) -> traces.Trace:
        """Write the trace and say what is in it."""
        rng, kernel = self.rng, self.kernel
        trace, _ = traces.build(rng, kernel, warn=warn, caller=caller)
        old = kernel.family == "x86" and not kernel.at_least("2.6.28")
        self.add(traces.print_trace(rng, trace, klogd=self.settings.klogd and old and trace.style != "brace"), "trace")
        told = {
            "functions": [frame.function for frame in trace.symbols],
            "reliable": [frame.reliable for frame in trace.symbols],
        }
        truth["allocfail"]["trace"] = told
        if trace.modules:
            told["modules"] = trace.modules
        else:
            absent.append("allocfail.trace.modules")
        if trace.context:
            told["context"] = trace.context
        return trace

    def memory(self, truth: dict[str, Any]) -> None:
        """Write Mem-Info, unless this kernel or its rate limit leaves it out."""
        wanted = self.settings.mem if self.settings.mem is not None else self.rng.random() < 0.85
        if wanted and self.kernel.at_least("2.6.12"):
            records, told = mem_info(self.rng, self.kernel)
            self.records += records
            truth["allocfail"]["memory"] = told


def _common(kind: str, action: str, report: _Report, mask: int, order: int | None) -> tuple[dict[str, Any], list[str]]:
    told: dict[str, Any] = {"kind": kind, "gfp": report.gfp_truth(mask), "complete": True}
    absent = ["allocfail.incomplete_reason", "allocfail.gfp.conflict", "allocfail.gfp.unknown_bits"]
    if order is None:
        absent += ["allocfail.order", "allocfail.pages"]
    else:
        told |= {"order": order, "pages": 1 << order}
    event: dict[str, Any] = {"kind": "event", "module": "allocfail", "action": action}
    if kind == "page_allocation_stall":
        absent.append("event.outcome")
    else:
        event["outcome"] = "failure"
    return {"event": event, "allocfail": told, "process": {"name": report.comm}}, absent


def _where(report: _Report, told: dict[str, Any], text: list[str]) -> None:
    """Nodemask, cpuset and mems_allowed, where the lines written carry them."""
    joined = "\n".join(text)
    if "nodemask=" in joined:
        told["nodemask"] = report.nodemask
    if "cpuset=" in joined and "mems_allowed=" in joined:
        told["cpuset"] = report.cpuset
        told["mems_allowed"] = report.mems


def _finish(truth: dict[str, Any], trace: traces.Trace, text: str, header: str) -> None:
    kept = identity.trace_text(trace)
    if kept:
        truth["allocfail"]["site"] = kept[0]
        truth["allocfail"]["fingerprint"] = {"version": "af1", "level": "trace", "text": f"{text}|{'>'.join(kept)}"}
    else:
        truth["allocfail"]["fingerprint"] = {"version": "af1", "level": "header", "text": header}
    del truth["allocfail"]["fingerprint"]["version"]
    truth["allocfail"]["fingerprint"]["header"] = {"text": header}


def _merge(truth: dict[str, Any], more: dict[str, Any]) -> None:
    truth["allocfail"]["gfp"] |= more


def _choose_caller(report: _Report) -> tuple[dict[str, Any], bool]:
    caller = report.rng.choice(data("traces")["callers"])
    return caller, caller["in"] in {"softirq", "hardirq", "local_bh"}


def _page(report: _Report, kind: str) -> Event:
    """A page allocation failure or stall."""
    rng, kernel = report.rng, report.kernel
    caller, atomic = _choose_caller(report)
    mask = masks.choose(rng, kernel, atomic=atomic)
    order = rng.choice((0, 0, 1, 1, 2, 3, 4, 5, 6, 9, 10))
    name = "page_allocation_stall" if kind == "stall" else "page_allocation_failure"
    truth, absent = _common(name, name.replace("_", "-"), report, mask, order)
    values = report.values(mask, order)
    if kind == "stall":
        values["ms"] = truth["allocfail"]["stalled_ms"] = rng.randrange(10_000, 200_000)
    elif kernel.at_least("2.6.39") and rng.random() < 0.15:
        n = truth["allocfail"]["suppressed"] = rng.randrange(1, 5000)
        report.add(render(kernel, "suppressed", n=n), "before")
    lines = render(kernel, "stall" if kind == "stall" else "page_failure", **values)
    return _with_body(report, truth, absent, lines, mask, warn="page", caller=caller, order=order)


def _with_body(
    report: _Report, truth: dict[str, Any], absent: list[str], lines: list[str], mask: int, *, warn: str,
    caller: dict[str, Any] | None, order: int | None,
) -> Event:  # fmt: skip
    """Header lines, banner, trace and Mem-Info, in that order."""
    kind = truth["allocfail"]["kind"]
    first = len(report.records)
    report.add(lines, "header")
    truth["message"] = lines[0]
    _where(report, truth["allocfail"], lines)
    if report.banner(truth, absent):
        _merge(truth, report.release_truth(mask))
    trace = report.trace(truth, absent, warn, caller)
    report.memory(truth)
    middle = f"|order={order}" if order is not None and kind != "vmalloc_allocation_failure" else ""
    header = identity.header_text(kind, report.comm, order if middle else None)
    _finish(truth, trace, f"af1|{kind}{middle}", header)
    return Event(truth, absent, first, {"uid": report.uid, "style": trace.style})


def _vmalloc(report: _Report) -> Event:
    rng, kernel = report.rng, report.kernel
    row = rng.choice(formats(kernel, "vmalloc"))
    mask = masks.choose(rng, kernel, atomic=False)
    size = rng.choice((8192, 4194304, 1 << 34, 18446744071562072064 if row["reason"] == "exceeds" else 69632))
    got = rng.randrange(0, size) if size < 1 << 60 else 4096
    told: dict[str, Any] = {"bytes": size} if size < 1 << 63 else {"bytes_text": str(size)}
    porder = rng.choice((0, 0, 9))
    if row["reason"] == "allocated":
        told["allocated_bytes"] = got
    if row.get("page_order"):
        told["page_order"] = porder
    message = fill("vmalloc", row, bytes=size, got=got, porder=porder)[0]
    pair = bool(row.get("pair"))
    truth, absent = _common(
        "vmalloc_allocation_failure", "vmalloc-allocation-failure", report, mask, 0 if pair else None
    )
    truth["allocfail"]["vmalloc"] = told
    if row.get("vmap") or (kernel.at_least("2.6.28") and rng.random() < 0.2):
        report.add(render(kernel, "vmap", bytes=size), "before")
    values = report.values(mask, 0)
    if pair:
        report.add([message], "vmalloc")
        lines = render(kernel, "page_failure", **values)
    else:
        tail = render(kernel, "vmalloc_tail", **values)
        lines = [f"{report.comm}: {message}{tail[0]}", *tail[1:]]
    return _with_body(report, truth, absent, lines, mask, warn="vmalloc", caller=None, order=0 if pair else None)


def _slab(report: _Report, kind: str, mask: int | None = None) -> Event:
    """SLUB's or SLAB's complaint."""
    rng, kernel = report.rng, report.kernel
    mask = masks.choose(rng, kernel, atomic=True) if mask is None else mask
    truth, absent = _common("slab_allocation_failure", "slab-allocation-failure", report, mask, None)
    truth.pop("process")
    cache = rng.choice(data("traces")["caches"])
    values = {
        "node": rng.choice((-1, 0, 1)), "mask": hex(mask),
        "names": masks.printed(kernel, mask) if kernel.at_least("4.6") else "",
        "cache": cache, "osize": rng.randrange(8, 8192), "bsize": rng.randrange(8, 16384),
        "dorder": rng.randrange(4), "morder": rng.randrange(2),
        "cpu": report.cpu, "cnode": rng.randrange(2),
    }  # fmt: skip
    told: dict[str, Any] = {"node": values["node"], "cache": cache, "object_size": values["osize"], "nodes": []}
    if kind == "slub":
        told |= {
            "allocator": "SLUB",
            "buffer_size": values["bsize"],
            "default_order": values["dorder"],
            "min_order": values["morder"],
        }
    else:
        told |= {"allocator": "SLAB", "order": values["dorder"]}
    lines = render(kernel, kind, **values)
    truth["message"] = lines[0]
    first = len(report.records)
    report.add(lines, "slab")
    if kind == "slub" and rng.random() < 0.3:
        report.add(render(kernel, "slub_debug", cache=cache), "slab")
    for node in range(rng.choice((1, 1, 2))):
        counts = {key: rng.randrange(1 << 16) for key in ("slabs", "objs", "free")}
        counts |= {f"all_{key}": counts[key] + rng.randrange(1 << 10) for key in ("slabs", "objs")}
        text = render(kernel, f"{kind}_node", node=node, **counts)
        report.add(text, "slab")
        # SLAB prints what is in use and, behind the slash, all of it (mm/slab.c, slab_out_of_memory()).
        whole = "all_" if kind == "slab" else ""
        row = {"node": node, "slabs": counts[f"{whole}slabs"], "objs": counts[f"{whole}objs"]}
        if "free:" in text[0]:
            row["free"] = counts["free"]
        told["nodes"].append(row)
    truth["allocfail"]["slab"] = told
    text = f"af1|slab_allocation_failure|cache={identity.cache_name(cache)}"
    truth["allocfail"]["fingerprint"] = {"level": "header", "text": text}
    return Event(truth, absent, first)


def _oom(report: _Report) -> Event:
    """An OOM kill: global, of a memory cgroup, or of a cpuset."""
    rng, kernel = report.rng, report.kernel
    memcg = kernel.at_least("2.6.28") and rng.random() < 0.4
    mask = masks.choose(rng, kernel, atomic=False)
    order = rng.choice((0, 0, 0, 1, 3)) if not memcg else 0
    truth, absent = _common("oom_kill", "oom-kill", report, mask, order if kernel.at_least("2.6.13") else None)
    if not kernel.at_least("2.6.19"):
        # The header names nobody.
        truth.pop("process")
    victim = rng.choice(data("traces")["comms"])
    # A kernel thread is never chosen.
    victim = (
        "mysqld"
        if victim.startswith(("swapper", "kworker", "kswapd", "ksoftirqd", "jbd2", "mmcqd", "irq/"))
        else victim
    )
    adj = rng.choice((0, 0, 1000, -17, 200))
    group = rng.choice(data("traces")["memcgs"])
    constraint = (
        "CONSTRAINT_MEMCG"
        if memcg
        else rng.choice(("CONSTRAINT_NONE", "CONSTRAINT_NONE", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY"))
    )
    values = report.values(mask, order) | {
        "adj": max(-17, min(15, adj)), "sadj": adj, "victim": victim, "vpid": rng.randrange(2, 99999),
        "score": rng.randrange(1, 1000),
        "vm": rng.randrange(1 << 22), "anon": rng.randrange(1 << 21), "file": rng.randrange(1 << 12),
        "pgt": rng.randrange(1 << 14),
        "vuid": rng.choice((0, 1000)), "vadj": rng.choice((0, 500)), "constraint": constraint,
        "memcg": group, "task_memcg": group,
    }  # fmt: skip
    lines = render(kernel, "oom", **values)
    first = len(report.records)
    report.add(lines, "header")
    truth["message"] = lines[0]
    told = truth["allocfail"]
    if not kernel.at_least("2.6.19"):
        truth["process"] = {}
    if report.banner(truth, absent):
        _merge(truth, report.release_truth(mask))
    callers = [row for row in data("traces")["callers"] if row["in"] in {"process", "fault"}]
    report.trace(truth, absent, "oom_memcg" if memcg else "oom", rng.choice(callers))
    if not truth["process"]:
        truth.pop("process")
    if memcg:
        report.add(
            [f"Task in {group} killed as a result of limit of {group}"] if not kernel.at_least("5.0") else [], "oom"
        )
        report.add(["memory: usage 6144kB, limit 6144kB, failcnt 171"], "oom")
    else:
        report.memory(truth)
    if kernel.at_least("2.6.32"):
        report.add(["[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name"], "oom")
        report.add(
            [f"[ {values['vpid']:5}]     0 {values['vpid']:5}   125000     2000      50        0  0 {victim}"],
            "oom",
        )
    verdict = render(kernel, "oom_verdict_memcg" if memcg else "oom_verdict", **values)
    report.add(verdict, "oom")
    _where(report, told, [*lines, *(verdict if kernel.at_least("5.0") else [])])
    told["oom"] = {"victim": victim, "victim_pid": values["vpid"]}
    if kernel.at_least("5.0"):
        told["oom"]["constraint"] = constraint
        text = f"af1|oom_kill|constraint={identity.safe(constraint)}|comm={identity.task_name(victim)}"
        told["fingerprint"] = {"level": "header", "text": text}
        told["oom"]["task_memcg"] = group
        if memcg:
            told["oom"]["memcg"] = group
    if kernel.at_least("2.6.36"):
        # The victim's own where the last line prints it, else that of the task that asked.
        told["oom"]["score_adj"] = values["vadj"] if kernel.at_least("5.4") else adj
    return Event(truth, absent, first)


def write(rng: random.Random, kernel: Kernel, kind: str, settings: Settings) -> Dump:
    """Write one report of a kind as a kernel prints it. Raises ValueError where that kernel prints none."""
    if not possible(kernel, kind):
        raise ValueError(f"{kernel.release} prints no {kind}")
    report = _Report(rng, kernel, settings)
    events: list[Event] = []
    if kind in {"page", "stall", "page+slub"}:
        events.append(_page(report, "page" if kind == "page+slub" else kind))
        if kind == "page+slub":
            at = len(report.records)
            events.append(_slab(report, "slub", int(events[0].truth["allocfail"]["gfp"]["mask"], 16)))
            for record in report.records[at:]:
                record.event = 1
    elif kind == "vmalloc":
        events.append(_vmalloc(report))
    elif kind in {"slub", "slab"}:
        events.append(_slab(report, kind))
    elif kind == "oom":
        events.append(_oom(report))
    else:
        raise ValueError(f"unknown kind {kind!r}")
    facts = {"comm": report.comm, "pid": report.pid, "cpu": report.cpu, "uid": report.uid}
    return Dump(report.records, events, kernel, kind, facts=facts)
