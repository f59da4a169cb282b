"""Hypothesis strategies: generated dumps, damaged ones, and text made of what decoders look for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from dumpgen import KINDS, PREFIXES, TANGLES, generate
from dumpgen.mutate import FRAGMENTS, mutate

if TYPE_CHECKING:
    from dumpgen.model import Dump

__all__ = ["damaged", "dumps", "fragments"]


def _dump(seed: int, kind: str | None, prefix: str, tangle: str | None) -> Dump:
    if tangle:
        # Not every prefix can carry one, nor every kind: whichever is drawn that can.
        return generate(random.Random(seed), prefix=None, tangle=tangle)
    return generate(random.Random(seed), kind=kind, prefix=prefix)


def dumps() -> st.SearchStrategy[Dump]:
    """Whole dumps of any kernel, kind, prefix and tangle."""
    return st.builds(
        _dump,
        st.integers(0, 1 << 30),
        st.sampled_from([None, *[kind for kind in KINDS if kind in {"page", "oom", "slub", "page+slub"}]]),
        st.sampled_from(PREFIXES),
        st.sampled_from([None, *TANGLES]),
    )


class Log(bytes):
    """Bytes that do not fill the screen when a test fails; the seed makes them again."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"<{len(self)} bytes>"


def _damage(seed: int, *, mixing: bool) -> Log:
    rng = random.Random(seed)
    first, second = (generate(rng, prefix=None).text.encode() for _ in range(2))
    return Log(mutate(rng, first, second, mixing=mixing))


def damaged(*, mixing: bool = True) -> st.SearchStrategy[bytes]:
    """Dumps damaged in one to six ways; without `mixing` each event's lines stay together and in order."""
    return st.builds(_damage, st.integers(0, 1 << 30), mixing=st.just(mixing))


def fragments() -> st.SearchStrategy[bytes]:
    """Bytes put together from the words that decoders search for, and from noise."""
    piece = st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12), st.sampled_from([b"\n", b" ", b"x"]))
    return st.lists(piece, max_size=60).map(b"".join)
