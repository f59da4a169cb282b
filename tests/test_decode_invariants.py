"""What holds for any log at all."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allocfail.report.reporter import Reporter
from dumpgen import generate
from dumpgen.mutate import mutate
from invariants import check, documents
from strategies import damaged, dumps, fragments

if TYPE_CHECKING:
    from dumpgen.model import Dump

# Dumps are built from a seed: nothing about one is small, and shrinking finds another seed at best.
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)


@quick
@given(dumps())
def test_generated_logs(dump: Dump) -> None:
    # How wide a mail program set its lines may show in other lines than an event's own.
    wrapped = any("wrapped" in tangle for tangle in dump.tangles)
    assert len(check(dump.text.encode(), again="one" if wrapped else "same")) == len(dump.events)


@quick
@given(damaged(mixing=False))
def test_damaged_logs(log: bytes) -> None:
    check(log, again="one")


@quick
@given(damaged())
def test_mixed_up_logs(log: bytes) -> None:
    check(log, again="any")


@settings(max_examples=150, deadline=None)
@given(fragments())
def test_words_without_sense(log: bytes) -> None:
    check(log, again="any")


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=400), st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_any_bytes(log: bytes) -> None:
    assert check(log) == []


@quick
@given(dumps(), st.floats(0, 1))
def test_chunks_do_not_matter(dump: Dump, where: float) -> None:
    log = dump.text.encode()
    check(log, again="any", split=max(1, int(len(log) * where)))


@quick
@given(damaged(), st.floats(0, 1))
def test_chunks_of_damaged_logs_do_not_matter(log: bytes, where: float) -> None:
    check(log, again="any", split=max(1, int(len(log) * where)))


@quick
@given(dumps(), dumps())
def test_the_order_of_two_reports_does_not_matter(left: Dump, right: Dump) -> None:
    ids = [
        sorted(
            document["allocfail"]["fingerprint"]["id"] for document in documents(f"{one.text}\n\n{two.text}".encode())
        )
        for one, two in ((left, right), (right, left))
    ]
    assert ids[0] == ids[1]


@quick
@given(damaged())
def test_no_control_character_reaches_a_terminal(log: bytes) -> None:
    for document in documents(log):
        out = io.BytesIO()
        told = Reporter(out, served=False, live=False)
        told.add(document)
        told.close()
        assert all(line.isprintable() for line in out.getvalue().decode().split("\n"))


def test_a_short_run_of_the_fuzzer() -> None:
    rng = random.Random(20240214)
    for _ in range(150):
        first, second = (generate(rng, prefix=None).text.encode() for _ in range(2))
        mixing = rng.random() < 0.5
        log = mutate(rng, first, second, limit=60_000, mixing=mixing)
        check(log, again="any" if mixing else "one", split=rng.randrange(1, max(2, len(log))))
