"""Call traces: which functions stand in one, and how each architecture and release prints them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dumpgen.kernels import data, newest
from dumpgen.model import Frame, Kernel

if TYPE_CHECKING:
    import random

__all__ = ["CONTEXTS", "Trace", "build", "print_trace"]

CONTEXTS = {
    "softirq": "softirq",
    "local_bh": "softirq",
    "hardirq": "hardirq",
    "process": "process",
    "kthread": "process",
}
"""What the document says of each caller's context; a page fault is none of them."""

# Before this release x86 printed every plausible stack word without saying which are guesses.
MARKED_SINCE = "2.6.28"


class Trace:
    """The frames of a trace in the order printed, and what is true about them."""

    def __init__(self, kernel: Kernel, frames: list[Frame], context: str | None, style: str) -> None:
        self.kernel = kernel
        self.frames = frames
        self.context = context
        self.style = style

    @property
    def symbols(self) -> list[Frame]:
        """The frames that name a function."""
        return [frame for frame in self.frames if frame.function]

    @property
    def marks_guesses(self) -> bool:
        """Whether this kernel tells return addresses from stale stack words."""
        return self.kernel.family != "x86" or self.kernel.at_least(MARKED_SINCE)

    @property
    def modules(self) -> list[str]:
        """Modules in order, once each."""
        return list(dict.fromkeys(frame.module for frame in self.symbols if frame.module))


def _entry(kernel: Kernel, context: str) -> list[str]:
    table: dict[str, Any] = data("traces")["entries"][context]
    row = newest(kernel, table.get(kernel.arch, table.get("any", [])))
    if row is None:
        row = newest(kernel, table.get("any", []))
    return list(row["frames"]) if row else []


def syscall_name(kernel: Kernel, name: str) -> str:
    """The symbol of a system call's entry function on this release and architecture."""
    if kernel.arch == "x86_64" and kernel.at_least("4.17"):
        return f"__x64_sys_{name}"
    if kernel.arch == "i386" and kernel.at_least("4.17"):
        return f"__ia32_sys_{name}"
    if kernel.arch == "arm64" and kernel.at_least("4.19"):
        return f"__arm64_sys_{name}"
    if kernel.arch == "s390" and kernel.at_least("5.2"):
        return f"__s390x_sys_{name}"
    if kernel.arch == "riscv" and kernel.at_least("6.5"):
        return f"__riscv_sys_{name}"
    if kernel.at_least("3.10") and not kernel.at_least("4.17") and kernel.arch in {"x86_64", "arm64"}:
        return f"SyS_{name}"
    return f"sys_{name}"


def _frame(rng: random.Random, kernel: Kernel, name: str, *, stale: bool = False) -> Frame:
    function, _, module = name.partition(" [")
    if "{sys:" in function:
        function = syscall_name(kernel, function[5:-1])
    function = function.replace("{n}", str(rng.randrange(0, 120)))
    if (
        kernel.arch == "powerpc"
        and not kernel.at_least("4.5")
        and not function.startswith(".")
        and "interrupt" not in function
    ):
        # 64-bit ELF ABI v1: a function's code has its name with a dot in front.
        function = "." + function
    elif kernel.arch == "powerpc" and kernel.at_least("4.5"):
        function = function.removeprefix(".")
    size = rng.choice((0x20, 0x60, 0xD0, 0x1C0, 0x470, 0xDD0))
    return Frame(function, module.rstrip("]"), not stale, rng.randrange(1, size), size)


def build(
    rng: random.Random,
    kernel: Kernel,
    *,
    warn: str = "page",
    caller: dict[str, Any] | None = None,
) -> tuple[Trace, dict[str, Any]]:
    """Put a trace together: who dumps, who allocates, who asked, how the kernel was entered.

    `warn` names the reporter (``page``, ``vmalloc``, ``oom``, ``oom_memcg``). Returns the trace and the caller used.
    """
    vocabulary = data("traces")
    caller = caller or rng.choice(vocabulary["vmalloc_callers" if warn == "vmalloc" else "callers"])
    names: list[str] = []
    dump = newest(kernel, vocabulary["dump_functions"][kernel.family])
    names += dump["frames"] if dump else []
    reporter = newest(kernel, vocabulary["warn_functions"][warn])
    names += reporter["frames"] if reporter else []
    allocators = list(vocabulary["allocators"]["vmalloc" if warn == "vmalloc" else rng.choice(("page", "slab"))])
    fitting = [row for row in allocators if newest(kernel, [row])]
    if fitting and warn != "oom_memcg":
        names += (fitting[-1] if warn == "vmalloc" else rng.choice(fitting))["frames"]
    names += caller["frames"]
    interrupted: list[str] = []
    where = caller["in"]
    if where == "softirq":
        names += _entry(kernel, "softirq")
        if rng.random() < 0.2:
            names += [
                "do_softirq",
                "local_bh_enable",
                "ip_finish_output",
                "tcp_v4_connect",
                "{sys:connect}",
                *_entry(kernel, "process"),
            ]
        else:
            names += _entry(kernel, "irq")
            interrupted = _entry(kernel, "idle")
    elif where == "local_bh":
        names += ["tasklet_action", "__do_softirq", "do_softirq", "local_bh_enable", "release_sock", "tcp_sendmsg"]
        names += ["{sys:sendto}", *_entry(kernel, "process")]
    elif where == "hardirq":
        names += _entry(kernel, "hardirq")
        interrupted = _entry(kernel, "idle")
    elif where == "process":
        names += _entry(kernel, "process")
    elif where == "fault":
        names += _entry(kernel, "fault")
    else:
        names += _entry(kernel, "kthread_worker" if caller.get("worker") else "kthread_plain") + _entry(
            kernel, "kthread_exit"
        )
    frames = [_frame(rng, kernel, name) for name in names]
    _add_stale(rng, kernel, frames, plumbing=len(names) - len(caller["frames"]))
    if kernel.family == "x86" and not kernel.at_least("3.3") and kernel.at_least(MARKED_SINCE) and rng.random() < 0.6:
        # Without frame pointers every frame is a guess.
        frames = [replace(frame, reliable=False) for frame in frames]
    frames += _boundary(rng, kernel, interrupted)
    if where in {"softirq", "hardirq"} and kernel.family == "x86" and interrupted and kernel.at_least("2.6"):
        frames[0] = replace(frames[0], marker="<IRQ>")
    style = _style(rng, kernel)
    trace = Trace(kernel, frames, CONTEXTS.get(where), style)
    return trace, caller


def _add_stale(rng: random.Random, kernel: Kernel, frames: list[Frame], plumbing: int) -> None:
    """Put guesses between the frames, among them function pointers with offset 0 (not inside the last entry frame)."""
    if kernel.family != "x86" or rng.random() < 0.4:
        return
    vocabulary = data("traces")["stale"]
    for _ in range(rng.randrange(1, 7)):
        at = rng.randrange(1, max(2, len(frames) - 1))
        frame = _frame(rng, kernel, rng.choice(vocabulary), stale=True)
        if rng.random() < 0.3:
            frame.offset = 0
        if not kernel.at_least(MARKED_SINCE):
            frame.reliable = True
            if at < plumbing:
                # Stale entries above the site are only told from frames by their offset on kernels that mark none.
                frame.offset = 0
        frames.insert(at, frame)


def _boundary(rng: random.Random, kernel: Kernel, interrupted: list[str]) -> list[Frame]:
    """What stands beyond the interrupt, with the boundary's marker on its first frame."""
    if not interrupted:
        return []
    frames = [_frame(rng, kernel, name) for name in interrupted]
    if kernel.family == "x86":
        frames[0].marker = "</IRQ>" if kernel.at_least("4.10") else "<EOI>"
    elif kernel.arch == "powerpc":
        if not kernel.at_least("3.18"):
            frames[0].marker = "--- Exception: 501 at"
        else:
            frames[0].marker = "---- interrupt: 900 at" if kernel.at_least("6.17") else "--- interrupt: 501 at"
    return frames


def _style(rng: random.Random, kernel: Kernel) -> str:
    """How this kernel prints frames; the names are this module's own."""
    if kernel.family == "x86":
        if kernel.at_least("4.10"):
            return "bare"
        if kernel.at_least(MARKED_SINCE):
            return "bracket"
        if not kernel.at_least("2.6.3"):
            return "early"
        if kernel.arch == "x86_64" and not kernel.at_least("2.6.18"):
            return "brace"
        return "colon" if kernel.arch == "x86_64" else "bracket"
    if kernel.arch == "arm":
        if kernel.at_least("5.17") and rng.random() < 0.7:
            return "arm_bare"
        return "arm_ps" if kernel.at_least("3.14") else "arm"
    if kernel.arch == "arm64":
        return "bare" if kernel.at_least("4.14.100") else "arm64_bracket"
    return {
        "mips": "arm64_bracket",
        "powerpc": "double",
        "s390": "paren",
        "parisc": "bracket",
        "riscv": "arm64_bracket",
    }[kernel.arch]


def _address(rng: random.Random, kernel: Kernel) -> str:
    if not kernel.wide:
        return f"{0xC0000000 + rng.randrange(0x1000000):08x}"
    top = {"arm64": 0xFFFFFF9F2E000000, "powerpc": 0xC000000000200000, "s390": 0x112F10, "parisc": 0x40100000}
    return f"{top.get(kernel.arch, 0xFFFFFFFF81000000) + rng.randrange(0x800000):016x}"


def _symbol(frame: Frame, *, colon: bool = False) -> str:
    if colon and frame.module:
        return f":{frame.module}:{frame.function}+0x{frame.offset:x}/0x{frame.size:x}"
    module = f" [{frame.module}]" if frame.module else ""
    return f"{frame.function}+0x{frame.offset:x}/0x{frame.size:x}{module}"


def print_trace(rng: random.Random, trace: Trace, *, klogd: bool = False) -> list[str]:
    """Write a trace's lines, with its heading, as the kernel prints them; `klogd` as that daemon rewrote them."""
    kernel, frames = trace.kernel, trace.frames
    heading = _heading(rng, kernel)
    if trace.style in {"brace", "early"}:
        return _brace(rng, trace) if trace.style == "brace" else ["Call Trace:", *_early(rng, trace)]
    if trace.style.startswith("arm") and trace.style != "arm64_bracket":
        return heading + _arm(rng, trace)
    lines = list(heading)
    in_task = kernel.family == "x86" and kernel.at_least("5.15.16")
    opened = ""
    for number, frame in enumerate(frames):
        guess = "" if frame.reliable else "? "
        if trace.style == "bare" and kernel.family == "x86":
            if frame.marker == "<IRQ>":
                lines.append(" <IRQ>")
            elif frame.marker == "</IRQ>":
                lines.append(" </IRQ>")
                if in_task:
                    lines.append(" <TASK>")
                    opened = " </TASK>"
            elif number == 0 and in_task:
                lines.append(" <TASK>")
                opened = " </TASK>"
            lines.append(f" {guess}{_symbol(frame)}")
        elif trace.style == "bare":
            tag = " (C)" if number == 0 and kernel.at_least("6.13") else ""
            lines.append(f" {_symbol(frame)}{tag}")
        elif trace.style == "arm64_bracket":
            lines.append(f"[<{_address(rng, kernel)}>] {guess}{_symbol(frame)}")
        elif trace.style == "double":
            lines += _double(rng, kernel, frame, unreliable=number == 0)
        elif trace.style == "paren":
            address = _address(rng, kernel)
            blank = " " if kernel.at_least("4.8") else ""
            lines.append(
                f"([<{address}>] {_symbol(frame)})" if number == 0 else f" [<{address}>] {_symbol(frame)}{blank}"
            )
        else:
            marker = f" {frame.marker} " if frame.marker else ""
            address = _address(rng, kernel)
            if klogd:
                name = f"{frame.module}:{frame.function}" if frame.module else frame.function
                inside = f"{name}+0x{frame.offset:x}/0x{frame.size + 0x10:x}"
                lines.append(f"{marker} [{inside}] {_symbol(frame, colon=trace.style == 'colon')}")
            else:
                lines.append(f"{marker} [<{address}>] {guess}{_symbol(frame, colon=trace.style == 'colon')}")
    if opened:
        lines.append(opened)
    if kernel.arch in {"mips", "parisc"}:
        lines.append("")
    return lines


def _heading(rng: random.Random, kernel: Kernel) -> list[str]:
    """The line above the frames, and the stack words that some releases print before it."""
    words = lambda count: " ".join(f"{rng.getrandbits(64):016x}" for _ in range(count))  # noqa: E731 - one short use
    if kernel.family == "x86":
        if kernel.arch == "i386" and not kernel.at_least("2.6.24") and rng.random() < 0.5:
            return []
        if kernel.arch == "x86_64" and kernel.at_least("3.10") and not kernel.at_least("4.10"):
            return [f" {words(4)}", f" {words(4)}", f" {words(4)}", "Call Trace:"]
        return ["", "Call Trace:"] if not kernel.at_least("2.6.28") else ["Call Trace:"]
    if kernel.arch == "arm":
        if kernel.at_least("6.9"):
            return ["Call trace: "]
        return ["Backtrace: "] if rng.random() < 0.5 else []
    if kernel.arch == "arm64":
        return ["Call trace:"]
    if kernel.arch == "mips":
        stack = " ".join(f"{rng.getrandbits(32):08x}" for _ in range(8))
        return [f"Stack : {stack}", f"        {stack}", "        ...", "Call Trace:"]
    return ["Backtrace:"] if kernel.arch == "parisc" else ["Call Trace:"]


def _brace(rng: random.Random, trace: Trace) -> list[str]:
    """x86_64 until 2.6.17: ``<address>{function+decimal}``, two a line, the first beside the heading."""
    cells: list[str] = []
    for frame in trace.frames:
        marker = f"{frame.marker} " if frame.marker else ""
        name = f":{frame.module}:{frame.function}" if frame.module else frame.function
        cells.append(f"{marker}<{_address(rng, trace.kernel)}>{{{name}+{frame.offset}}}")
    lines = ["", "Call Trace: " + " ".join(cells[:2])]
    lines += ["       " + " ".join(cells[at : at + 2]) for at in range(2, len(cells), 2)]
    return [*lines, ""]


def _early(rng: random.Random, trace: Trace) -> list[str]:
    return [f" [<{_address(rng, trace.kernel)}>] {_symbol(frame)}" for frame in trace.frames]


def _arm(rng: random.Random, trace: Trace) -> list[str]:
    """ARM prints a call as ``callee from caller``; a frame but the first and last stands on two lines."""
    lines: list[str] = []
    frames = trace.frames
    for left, right in itertools.pairwise(frames):
        module = f" [{left.module}]" if left.module else ""
        if trace.style == "arm":
            a, b = _address(rng, trace.kernel), _address(rng, trace.kernel)
            # The left side is the function's start.
            start = f"{left.function}+0x0/0x{left.size:x}{module}"
            lines.append(f"[<{a}>] ({start}) from [<{b}>] ({_symbol(right)})")
        elif trace.style == "arm_ps":
            a, b = _address(rng, trace.kernel), _address(rng, trace.kernel)
            lines.append(f"[<{a}>] ({left.function}{module}) from [<{b}>] ({_symbol(right)})")
        else:
            lines.append(f" {left.function}{module} from {_symbol(right)}")
    return lines


def _double(rng: random.Random, kernel: Kernel, frame: Frame, *, unreliable: bool) -> list[str]:
    """PowerPC: stack pointer and return address in brackets; an interrupt prints a line or a block of its own."""
    lines: list[str] = []
    if frame.marker:
        if kernel.at_least("5.11"):
            lines += [
                f"{frame.marker} {_symbol(frame)}",
                "NIP:  002612ec LR: 00534108 CTR: 001e8310",
                "REGS: f2ffbf40 TRAP: 0900   Not tainted  (x)",
                "GPR00: 00000057 afe3ef20 a7a95540 01b2bdd0",
                "NIP [002612ec] arch_local_irq_restore+0x10/0x20",
                "LR [00534108] 0x534108",
                frame.marker.split(" at")[0],
            ]
        else:
            lines += [f"{frame.marker} {_symbol(frame)}", f"    LR = {_symbol(frame)}"]
    sp = f"{0xC00000000108FB10 + rng.randrange(0x1000):016x}"
    lines.append(f"[{sp}] [{_address(rng, kernel)}] {_symbol(frame)}{' (unreliable)' if unreliable else ''}")
    return lines
