"""Small dumps put together by hand, and short ways to what became of them: for tests that speak of one rule each."""

from __future__ import annotations

from typing import Any

from allocfail.logs.events import Options, decode_bytes

__all__ = ["BANNER", "at", "decoded", "memory", "only", "page", "trace"]

BANNER = "CPU: 0 PID: 123 Comm: app Not tainted 5.4.0-42-generic #46-Ubuntu"
#: What every trace here is about; the group of a dump ends in them.
CALLERS = ("my_alloc", "my_caller")


def frame(name: str, *, guess: bool = False) -> str:
    """Return a line of a trace."""
    return f" {'? ' if guess else ''}{name}+0x10/0x20"


def trace(*inner: str, outer: tuple[str, ...] = ("entry_SYSCALL_64_after_hwframe",)) -> list[str]:
    """Return a trace of certain frames: the dump's own, ``inner``, the callers, ``outer``."""
    return ["Call Trace:", *(frame(name) for name in ("dump_stack", "warn_alloc", *inner, *CALLERS, *outer))]


def memory(free: tuple[str, ...] = ("1*4kB 1*8kB",), *, nodes: int = 1) -> list[str]:
    """Return a short Mem-Info: a zone for each of ``free`` (the free lists as printed) on each node."""
    zones, lists = [], []
    for node in range(nodes):
        for number, blocks in enumerate(free):
            name = ("DMA", "Normal")[number]
            zones += [f"Node {node} {name} free:15672kB min:500kB low:600kB high:700kB present:15992kB managed:15908kB"]
            zones += ["lowmem_reserve[]: 0 100 200 200"]
            lists += [f"Node {node} {name}: {blocks} = 12kB"]
    return ["Mem-Info:", "active_anon:1 inactive_anon:2 isolated_anon:0", *zones, *lists, "1000 pages reserved"]


def page(
    order: int = 1,
    mask: str = "0xa20(GFP_ATOMIC)",
    *,
    kind: str = "failure",
    body: list[str] | None = None,
    mem: list[str] | None = None,
) -> list[str]:
    """Return a page allocation failure, or a stall where ``kind`` is ``stalls for …ms``, of a task called app."""
    middle = ":" if kind == "failure" else ","
    header = f"app: page allocation {kind}{middle} order:{order}, mode:{mask}, nodemask=(null)"
    return [header, BANNER, *(trace() if body is None else body), *(mem or [])]


def decoded(lines: list[str], prefix: str = "", **options: Any) -> list[dict[str, Any]]:
    """Return the documents of a log given in lines."""
    data = "".join(f"{prefix}{line}\n" for line in lines).encode()
    return [event.document for event in decode_bytes(data, Options(**({"year": 2024} | options)))]


def only(lines: list[str], prefix: str = "", **options: Any) -> dict[str, Any]:
    """Return the one document of a log given in lines."""
    [document] = decoded(lines, prefix, **options)
    return document


def at(document: Any, path: str) -> Any:
    """Return what stands at a dotted path, None where nothing does."""
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document
