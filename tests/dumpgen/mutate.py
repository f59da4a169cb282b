"""Damage to a log: what disks, terminals, mail and attackers do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["MUTATIONS", "mutate"]

# What breaks parsers: signs of framing, of numbers at their limits, of encodings, of terminals, of markup.
FRAGMENTS = [
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[2J\x1b]0;x\x07", b"\r", b"\n\n\n", b"#012", b"\\n", b"\\x0a",
    b"\xc2\xa0", b"\xe2\x80\xae", b"> ", b">>> ", b"<4>", b"[", b"]", b"[    0.000000] ", b"{", b"}", b'{"log":"',
    b'"}', b"()", b"((", b"? ", b"+0x", b"/0x", b"0x", b"0xffffffffffffffffffffffff", b"18446744073709551616", b"-1",
    b"99999999999999999999999", b"order:", b"mode:", b": page allocation failure",
    b"page allocation failure: order:0, mode:0x0()", b"invoked oom-killer: ", b"vmalloc: allocation failure",
    b"SLUB: Unable to allocate memory on node ", b"Mem-Info:", b"Call Trace:", b"<IRQ>", b"</IRQ>", b"<EOI>",
    b"--- interrupt: ", b"CPU: ", b"PID: ", b"Comm: ", b"Tainted: ", b"Hardware name: ", b"Node 0 ", b"DMA free:",
    b"lowmem_reserve[]: ", b"1*4kB", b" = ", b"last message repeated 3 times", b"warn_alloc: 5 callbacks suppressed",
    b"<script>", b"&lt;", b"&amp;", b"<br>", b"\xc3\xa9", b"\xf0\x9f\x92\xa5", b"nodemask=", b",cpuset=",
    b"mems_allowed=", b"A" * 300, b"=" * 81,
]  # fmt: skip


def _cut_bytes(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.5 else data[at:]


def _drop_lines(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    del lines[at : at + rng.choice((1, 1, 2, 10))]
    return b"\n".join(lines)


def _double_lines(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    piece = lines[at : at + rng.choice((1, 3, 20))]
    to = rng.randrange(len(lines) + 1)
    return b"\n".join([*lines[:to], *piece, *lines[to:]])


def _swap_lines(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    lines = data.split(b"\n")
    left, right = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[left], lines[right] = lines[right], lines[left]
    return b"\n".join(lines)


def _flip(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 5, 50))):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _insert(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(FRAGMENTS) * rng.choice((1, 1, 1, 7)) + data[at:]


def _insert_line(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(FRAGMENTS) + rng.choice(FRAGMENTS))
    return b"\n".join(lines)


def _delete(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 8, 40, 400)) :]


def _number(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    """Replace a number by one at a limit."""
    spots = [at for at in range(1, len(data)) if 48 <= data[at] <= 57 and not 48 <= data[at - 1] <= 57]
    if not spots:
        return data
    start = rng.choice(spots)
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    new = rng.choice(
        (
            b"0",
            b"-1",
            b"64",
            b"2147483648",
            b"9223372036854775808",
            b"9" * 40,
            b"9" * 5000,
            b"1e9",
            b"0x10",
            "٣".encode(),
            b"",
        )
    )
    return data[:start] + new + data[end:]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _shuffle_in(rng: random.Random, data: bytes, other: bytes) -> bytes:
    left, right = data.split(b"\n"), other.split(b"\n")
    out: list[bytes] = []
    while left or right:
        queue = left if left and (not right or rng.random() < 0.6) else right
        out.append(queue.pop(0))
    return b"\n".join(out)


def _rewrap(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    width = rng.randrange(20, 200)
    return b"\n".join(line[at : at + width] for line in data.split(b"\n") for at in range(0, max(1, len(line)), width))


def _join(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data.replace(
        b"\n", rng.choice((b" ", b"", b"#012", b"\\n", b"\r", b"\r\n", b"<br>\n", b"\x0b")), rng.choice((-1, 1, 5))
    )


def _blanks(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data.replace(b" ", rng.choice((b"\xc2\xa0", b"\t", b"  ", b"", b"&nbsp;")), rng.choice((-1, 3, 30)))


def _quote(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    mark = rng.choice((b"> ", b">>", b"| ", b"    ", b"<4>", b"Feb 14 15:24:15 h kernel: ", b"[  1.000000][ T1] "))
    return b"\n".join(mark + line for line in data.split(b"\n"))


MUTATIONS: list[Callable[[random.Random, bytes, bytes], bytes]] = [
    _cut_bytes, _drop_lines, _double_lines, _swap_lines, _flip, _insert, _insert, _insert_line, _delete, _number,
    _number, _splice, _shuffle_in, _rewrap, _join, _blanks, _quote,
]  # fmt: skip


MIXING = {_shuffle_in, _rewrap, _double_lines, _swap_lines, _splice}
"""After these an event's lines are not where the kernel printed them."""


def mutate(
    rng: random.Random, data: bytes, other: bytes, *, limit: int = 300_000, mixing: bool = True, wrapping: bool = True
) -> bytes:
    """Damage a log in one to six ways; `other` is a second log to mix in. The result has at most `limit` bytes.

    Without `mixing` lines stay together and in order; without `wrapping` they stay whole.
    """
    without = {_rewrap} if not wrapping else set()
    choices = [mutation for mutation in MUTATIONS if mutation not in (without if mixing else without | MIXING)]
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        data = rng.choice(choices)(rng, data, other)[:limit]
    return data
