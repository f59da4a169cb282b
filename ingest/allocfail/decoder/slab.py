"""Lines of a slab report behind its header (mm/slub.c and mm/slab.c slab_out_of_memory(), 2.6.30 to 7.3-rc7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["SlabLines"]

#: Nodes that a report keeps.
_MOST_NODES = 1024

_CACHE = re.compile(r"cache: (.+?)(?=, (?:object size|buffer size|default order|min order|order): |$)").match
_SIZE = re.compile(r", ((?:object|buffer) size|(?:default |min )?order): ([0-9]{1,9})(?=,|$)").search
_NODE = re.compile(r"node ([0-9]{1,9}): (slabs: .+)$").match
_COUNT = re.compile(r"(slabs|objs|free): ([0-9]{1,18})(?:/([0-9]{1,18}))?(?:, |$)").match


@dataclass(slots=True)
class SlabLines:
    """What a slab report says behind its header."""

    cache: str | None = None
    object_size: int | None = None
    buffer_size: int | None = None
    default_order: int | None = None
    min_order: int | None = None
    order: int | None = None
    nodes: list[dict[str, int]] = field(default_factory=list)

    def add(self, text: str) -> bool:
        """Read one line; return whether it is one of a report's."""
        if text.startswith("cache: ") and self.cache is None:
            self._add_cache(text)
            return True
        if text.startswith("node "):
            node = _node(text)
            if node is not None and len(self.nodes) < _MOST_NODES:
                self.nodes.append(node)
            return node is not None
        return " debugging increased min order, use " in text

    def _add_cache(self, text: str) -> None:
        m = _CACHE(text)
        if m is None:
            return
        self.cache = m[1]
        size = _SIZE(text, m.end())
        while size is not None:
            value = int(size[2])
            if size[1] == "object size":
                self.object_size = value
            elif size[1] == "buffer size":
                self.buffer_size = value
            elif size[1] == "default order":
                self.default_order = value
            elif size[1] == "min order":
                self.min_order = value
            else:
                self.order = value
            size = _SIZE(text, size.end())


def _node(text: str) -> dict[str, int] | None:
    """Read ``node 0: slabs: 3/3, objs: 3/3, free: 0``; the second of a pair is the total."""
    m = _NODE(text)
    if m is None:
        return None
    node = {"node": int(m[1])}
    counts = m[2]
    at = 0
    while at < len(counts):
        part = _COUNT(counts, at)
        if part is None:
            return None
        if part[3] is not None:
            node["active_" + part[1]] = int(part[2])
        node[part[1]] = int(part[2] if part[3] is None else part[3])
        at = part.end()
    return node
