"""Fixtures that every test may ask for: real engines, started when the first test wants one.

``ALLOCFAIL_TEST_OPENSEARCH`` and ``ALLOCFAIL_TEST_ELASTICSEARCH`` name running engines to use instead;
``ALLOCFAIL_SKIP_ENGINES=1`` skips the engine tests, except where ``CI`` is set.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from rich.console import Console

from allocfail.errors import AllocfailError
from engines import harness
from fuzz.seeds import SEED, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from engines.harness import Engine

# What is drawn at random is drawn alike in every run; `make fuzz` draws anew.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("anew", deadline=None)
settings.load_profile("anew" if os.environ.get("ALLOCFAIL_FUZZ_SECONDS") else "same")

ENGINE_FIXTURES = {
    "elasticsearch_engine",
    "elasticsearch_secured",
    "elasticsearch_url",
    "engine",
    "engine_without_regex",
    "guarded",
    "opensearch_engine",
    "old",
    "opensearch_url",
}
PRODUCTS = ["elasticsearch", "opensearch"]
#: What the command line reads from its surroundings; the switches of the tests have other names.
SURROUNDINGS = ("URL", "API_KEY", "USER", "PASSWORD", "KB_URL")

NO_REGEX = {"script.painless.regex.enabled": "false"}


def pytest_report_header() -> str:
    """Say what makes this run's random logs again."""
    return f"fuzz seed: {SEED} ({VARIABLE}={SEED} draws the same again)"


def pytest_configure() -> None:
    """Take away what would change the commands that tests start.

    ``nohup pytest &`` ignores SIGINT, and children inherit that; and they inherit a person's own credentials.
    """
    for name in SURROUNDINGS:
        os.environ.pop(f"ALLOCFAIL_{name}", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine, so that ``-m 'not engine'`` is complete."""
    for item in items:
        if ENGINE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.engine)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("engine") and os.environ.get("ALLOCFAIL_SKIP_ENGINES") == "1":
        if os.environ.get("CI"):
            return
        pytest.skip("ALLOCFAIL_SKIP_ENGINES=1: NOT tested against real engines")


def _run(started: AbstractContextManager[Engine]) -> Iterator[Engine]:
    try:
        engine = started.__enter__()
    except AllocfailError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield engine
    finally:
        started.__exit__(None, None, None)


def _given(product: str) -> Engine | None:
    """Return the running engine that the environment names, if it does."""
    name = f"ALLOCFAIL_TEST_{product.upper()}"
    url = os.environ.get(name)
    if not url:
        return None
    engine = harness.Engine(product, url.rstrip("/"))
    try:
        status, _ = engine.request("GET", "/")
    except OSError as error:
        pytest.fail(f"{name}={url}: {error}", pytrace=False)
    if status != 200:
        pytest.fail(f"{name}={url}: answers {status}", pytrace=False)
    return engine


@contextmanager
def _alone(engine: Engine) -> Iterator[Engine]:
    """Keep a running engine for this run: two that put and remove the same objects would disturb each other."""
    name = hashlib.sha256(engine.url.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"allocfail-tests-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield engine


@pytest.fixture(scope="session")
def console(request: pytest.FixtureRequest) -> Iterator[Console | None]:
    """Progress on the terminal, past pytest's capture: a first download takes a while."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield Console(stderr=True)
        return
    with capture.global_and_fixture_disabled():
        copy = os.fdopen(os.dup(2), "w")
    with copy:
        yield Console(file=copy)


@pytest.fixture(scope="session")
def opensearch_engine(console: Console) -> Iterator[Engine]:
    if given := _given("opensearch"):
        with _alone(given):
            yield given
    else:
        yield from _run(harness.start_opensearch(console=console))


@pytest.fixture(scope="session")
def elasticsearch_engine(console: Console) -> Iterator[Engine]:
    if given := _given("elasticsearch"):
        with _alone(given):
            yield given
    else:
        yield from _run(harness.start_elasticsearch(console=console))


@pytest.fixture(scope="session")
def opensearch_url(opensearch_engine: Engine) -> str:
    return opensearch_engine.url


@pytest.fixture(scope="session")
def elasticsearch_url(elasticsearch_engine: Engine) -> str:
    return elasticsearch_engine.url


@pytest.fixture(scope="session", params=PRODUCTS)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return each engine in turn: a test that asks for it runs on both."""
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture(scope="session")
def elasticsearch_secured(console: Console) -> Iterator[Engine]:
    """Run an Elasticsearch with security on: HTTPS, ``ca_file``, a superuser."""
    yield from _run(harness.start_elasticsearch(secured=True, console=console))


@pytest.fixture(scope="module", params=PRODUCTS)
def engine_without_regex(request: pytest.FixtureRequest, console: Console) -> Iterator[Engine]:
    """Run each engine in turn with Painless's regular expressions switched off."""
    start = harness.start_opensearch if request.param == "opensearch" else harness.start_elasticsearch
    yield from _run(start(settings=NO_REGEX, console=console))
