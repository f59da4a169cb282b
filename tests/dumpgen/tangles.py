"""What happens to a log on its way to the reader: mail, the web, other CPUs, lost lines.

Each tangle changes ``dump.lines`` and, where something is lost, the truth. ``LOSSLESS`` ones leave every field true.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dumpgen.kernels import data

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from dumpgen.model import Dump

__all__ = ["LOSSLESS", "TANGLES", "apply", "interleave"]


def _quote(rng: random.Random, dump: Dump) -> None:
    mark = rng.choice(("> ", ">> ", "> > ", "| "[:0] + "> >> "))
    dump.lines = [mark + line for line in dump.lines]


def wrap(line: str, width: int) -> list[str]:
    """Break a line at blanks the way mail programs do; a word longer than the width is left whole."""
    out: list[str] = []
    while len(line) > width:
        at = line.rfind(" ", 1, width + 1)
        if at <= 0:
            at = line.find(" ", width)
        if at <= 0 or not line[:at].strip():
            break
        out.append(line[:at])
        line = line[at + 1 :]
    return [*out, line]


def _wrapped(rng: random.Random, dump: Dump) -> None:
    width = rng.choice((72, 74, 76, 78, 80))
    dump.lines = [part for line in dump.lines for part in wrap(line, width)]


def _quoted_wrapped(rng: random.Random, dump: Dump) -> None:
    _wrapped(rng, dump)
    _quote(rng, dump)


def _nbsp(_rng: random.Random, dump: Dump) -> None:
    dump.lines = [line.replace(" ", "\u00a0") for line in dump.lines]


def _joined(_rng: random.Random, dump: Dump) -> None:
    """Syslog daemons write a line end inside a message as ``#012``: the whole dump becomes one line."""
    head, *rest = dump.lines
    dump.lines = [head + "".join("#012" + line for line in rest)]


def _joined_n(_rng: random.Random, dump: Dump) -> None:
    head, *rest = dump.lines
    dump.lines = [head + "".join("\\n" + line for line in rest)]


def _crlf(_rng: random.Random, dump: Dump) -> None:
    dump.lines = [line + "\r" for line in dump.lines]


def _ansi(_rng: random.Random, dump: Dump) -> None:
    dump.lines = [f"\x1b[33m{line[:1]}\x1b[0m{line[1:]}\x1b[K" for line in dump.lines]


def _trailing(_rng: random.Random, dump: Dump) -> None:
    dump.lines = [line + "  " for line in dump.lines]


def _padded(_rng: random.Random, dump: Dump) -> None:
    """A serial console's capture: every line filled up to the terminal's width."""
    dump.lines = [line.ljust(80) for line in dump.lines]


def _fenced(_rng: random.Random, dump: Dump) -> None:
    """An issue tracker: prose, and the log in a fence."""
    dump.lines = ["This is what dmesg says:", "", "```", *dump.lines, "```", "", "Any idea?"]


def _pre(_rng: random.Random, dump: Dump) -> None:
    """A web page's text with what HTML needs written as entities."""
    lines = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in dump.lines]
    # Without the empty line the end is taken for the last line's: test_known_faults.
    dump.lines = ["<pre>", *lines, "", "</pre>"]


def _indented(_rng: random.Random, dump: Dump) -> None:
    dump.lines = ["    " + line for line in dump.lines]


def _html(_rng: random.Random, dump: Dump) -> None:
    """A web page that ate what looks like a tag: ``[<ffffffff81…>]`` became ``[]``."""
    out: list[str] = []
    for line in dump.lines:
        while (start := line.find("[<")) >= 0 and (end := line.find(">]", start)) > 0:
            line = line[: start + 1] + line[end + 1 :]  # noqa: PLW2901 - shortened until no address is left
        out.append(line)
    dump.lines = out


FRAME = re.compile(
    r"^(?P<head>.*? (?:\? )?)(?P<name>[A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[(?P<module>\w+)\])?$",
)


def _symbolised(rng: random.Random, dump: Dump) -> None:
    """A test robot adds source lines, and lines of their own for functions that the compiler inlined."""
    out: list[str] = []
    for line in dump.lines:
        found = FRAME.match(line)
        if found and rng.random() < 0.2:
            head = found["head"].replace("? ", "")
            out.append(f"{head}get_page_from_freelist mm/page_alloc.c:{rng.randrange(5000)} [inline]")
        source = f" mm/{rng.choice(('slub', 'page_alloc', 'vmalloc'))}.c:{rng.randrange(5000)}"
        out.append(line + source if found else line)
    dump.lines = out


def _decoded(rng: random.Random, dump: Dump) -> None:
    """Put the source line in the place of the offset, as scripts/decode_stacktrace.sh does; it bares the module."""
    out: list[str] = []
    for line in dump.lines:
        found = FRAME.match(line)
        if found:
            place = f"mm/slub.c:{rng.randrange(5000)}" + rng.choice((" (discriminator 3)", "", ""))
            module = f" {found['module']}" if found["module"] else ""
            out.append(f"{found['head']}{found['name']} ({place}){module}")
        else:
            out.append(line)
    dump.lines = out


def _login_prompt(_rng: random.Random, dump: Dump) -> None:
    """A console's prompt stands before the first line that the kernel prints over it."""
    dump.lines[0] = "elm3b29 login: " + dump.lines[0]
    for event in dump.events:
        # It names the machine, for whoever reads it.
        event.absent = [path for path in event.absent if path != "host.hostname"]


def _html_breaks(_rng: random.Random, dump: Dump) -> None:
    """The source of a web page."""
    dump.lines = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "<br>" for line in dump.lines]


def _head(dump: Dump) -> str:
    """Return the prefix of a dump's first line, empty where it has none or is a container."""
    first = dump.records[0].text.split("\n", maxsplit=1)[0]
    return dump.lines[0].removesuffix(first) if first and dump.lines[0].endswith(first) else ""


def _noise_between(rng: random.Random, dump: Dump) -> None:
    """Unrelated lines of the same machine between the report's own."""
    vocabulary = data("traces")["noise"]
    head = _head(dump)
    for _ in range(rng.randrange(1, 8)):
        dump.lines.insert(rng.randrange(1, len(dump.lines) + 1), head + rng.choice(vocabulary))


def _noise_around(rng: random.Random, dump: Dump) -> None:
    """Unrelated lines before and behind, shaped like the report's own first line's prefix."""
    vocabulary = data("traces")["noise"]
    head = _head(dump)
    before = [head + rng.choice(vocabulary) for _ in range(rng.randrange(1, 6))]
    behind = [head + rng.choice(vocabulary) for _ in range(rng.randrange(1, 6))]
    dump.lines = [*before, *dump.lines, *behind]


OOPS = """BUG: unable to handle kernel NULL pointer dereference at 0000000000000008
IP: [<ffffffffa0123456>] nvidia_crash+0x16/0x40 [nvidia]
Oops: 0002 [#1] SMP
CPU: 9 PID: 999 Comm: Xorg Tainted: P           O 3.10.0 #1
Hardware name: Other Machine
RIP: 0010:[<ffffffffa0123456>]  [<ffffffffa0123456>] nvidia_crash+0x16/0x40 [nvidia]
Call Trace:
 [<ffffffffa0123457>] nvidia_ioctl+0x17/0x40 [nvidia]
 [<ffffffff81190000>] do_vfs_ioctl+0x84/0x580
---[ end trace 1234567890abcdef ]---"""


def _oops_behind(_rng: random.Random, dump: Dump) -> None:
    """An unrelated crash right behind, on another task."""
    head = _head(dump)
    dump.lines += [head + line for line in OOPS.split("\n")]


LOSSLESS: dict[str, Callable[[random.Random, Dump], None]] = {
    "quoted": _quote,
    "wrapped": _wrapped,
    "quoted_wrapped": _quoted_wrapped,
    "nbsp": _nbsp,
    "joined_012": _joined,
    "joined_n": _joined_n,
    "crlf": _crlf,
    "ansi": _ansi,
    "trailing_blanks": _trailing,
    "padded": _padded,
    "fenced": _fenced,
    "pre": _pre,
    "indented": _indented,
    "html_addresses": _html,
    "html_breaks": _html_breaks,
    "login_prompt": _login_prompt,
    "symbolised": _symbolised,
    "decoded": _decoded,
    "noise_around": _noise_around,
    "noise_between": _noise_between,
    "oops_behind": _oops_behind,
}
TANGLES = sorted(LOSSLESS)

# Tangles that a prefix cannot carry: containers do not wrap, and a page or mail shows text, not JSON or escapes.
CONTAINERS = {
    "journal_json", "journal_json_remote", "journal_export", "docker", "ecs", "message_json", "kmsg", "kmsg_caller",
    "kmsg_forged", "netconsole", "cri",
}  # fmt: skip


def fits(dump: Dump, tangle: str) -> bool:
    """Whether a tangle makes sense on a dump as it was shipped."""
    if dump.prefix in CONTAINERS:
        return tangle in {"crlf", "noise_around"} and dump.prefix not in {"journal_export", "kmsg"}
    if tangle in {"symbolised", "decoded"}:
        # Both need debugging symbols, and were written for traces without addresses.
        return dump.kernel.at_least("4.15") and dump.kernel.family in {"x86", "arm64"}
    if tangle == "login_prompt":
        # In front of an OOM kill's header it is not recognised: test_known_faults.
        return dump.prefix in {"none", "printk", "level_printk"} and dump.kind != "oom"
    if tangle in {"joined_n", "joined_012"}:
        return dump.prefix in {"none", "syslog", "printk"}
    return True


def apply(rng: random.Random, dump: Dump, tangle: str) -> bool:
    """Tangle a dump; return whether it is another now.

    Not every prefix can carry every tangle, and some lines have nothing that it changes.
    """
    before = list(dump.lines)
    if fits(dump, tangle):
        LOSSLESS[tangle](rng, dump)
    if dump.lines == before:
        return False
    dump.tangles.append(tangle)
    return True


def interleave(rng: random.Random, dumps: list[Dump]) -> list[str]:
    """Merge the lines of several dumps, each in its own order, as machines or CPUs print at the same time."""
    queues = [list(dump.lines) for dump in dumps]
    out: list[str] = []
    while any(queues):
        queue = rng.choice([queue for queue in queues if queue])
        count = rng.randrange(1, 4)
        out += queue[:count]
        del queue[:count]
    return out


def truncated(rng: random.Random, dump: Dump) -> int:
    """Cut a dump's records behind a random one (the header stays). Returns how many records are left."""
    kept = rng.randrange(dump.events[0].first + 1, len(dump.records) + 1)
    dump.records = dump.records[:kept]
    return kept
