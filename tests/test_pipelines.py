"""The pipelines as definitions and as generated: what every reader and reviewer of them may rely on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from allocfail import facts
from allocfail.build import __main__ as generated
from allocfail.content import content_path
from allocfail.errors import InputError
from allocfail.painless import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES = sorted(pipelines.DIALECTS)
SOURCES = sorted(content_path("pipelines/painless").glob("*.painless"))
#: Words that mean something of their own in Painless or in a document, whatever fact they also are.
COMMON = {
    "page",
    "slab",
    "order",
    "node",
    "cache",
    "text",
    "log",
    "host",
    "hosts",
    "time",
    "size",
    "message",
    "body",
    "vmalloc",
}


def processors(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in [*body["processors"], *body["on_failure"]]:
        yield from entry.items()


def code(path: Path) -> str:
    return pipelines._condense(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("product", ENGINES)
def test_every_processor_says_what_it_is(product: str) -> None:
    for name, body in pipelines.build(product).items():
        assert body["description"].strip(), name
        assert body["on_failure"], name
        tags = [processor["tag"] for _, processor in processors(body)]
        assert len(set(tags)) == len(tags), name
        for kind, processor in processors(body):
            assert processor["tag"].startswith("allocfail-"), (name, kind)
            assert processor["description"].strip(), processor["tag"]
    inner, outer = (list(body["processors"]) for body in pipelines.build(product).values())
    own = [processor["tag"] for group in (inner, outer) for entry in group for processor in entry.values()]
    assert len(set(own)) == len(own)


@pytest.mark.parametrize("product", ENGINES)
def test_failures_are_told_in_elastics_words(product: str) -> None:
    for body in pipelines.build(product).values():
        told = dict(processors({"processors": [], "on_failure": body["on_failure"]}))
        assert told["set"] == told["set"] | {"field": "event.kind", "value": "pipeline_error"}
        text = json.dumps(body["on_failure"])
        for word in ("type", "tag", "message"):
            name = "on_failure_message" if word == "message" else f"on_failure_processor_{word}"
            assert f"{{{{{{_ingest.{name}}}}}}}" in text
        assert all(processor["ignore_failure"] for _, processor in processors({**body, "processors": []}))


@pytest.mark.parametrize("product", ENGINES)
def test_scripts_are_few_and_of_a_size_that_both_engines_take(product: str) -> None:
    scripts = [p for body in pipelines.build(product).values() for kind, p in processors(body) if kind == "script"]
    assert len(scripts) <= 9
    for script in scripts:
        assert len(script["source"].encode()) < 60_000, script["tag"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_needs_a_regular_expression(path: Path) -> None:
    source = code(path)
    for word in ("=~", "==~", "Pattern", "Matcher", ".matches(", ".replaceAll(", ".split(", ".splitAsStream("):
        assert word not in source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_has_what_painless_or_the_generator_would_misread(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        assert "/*" not in line
        assert len(line) <= 600
        head, mark, _ = line.partition("//")
        # A comment's mark in a string would cut the string.
        assert not mark or (head.count('"') % 2 == 0 and head.count("'") % 2 == 0), line
        assert "\\" not in head, line


def strings(source: str) -> set[str]:
    """Return the string literals of a source."""
    found: set[str] = set()
    at = 0
    while at < len(source):
        mark = source[at]
        if mark in "\"'":
            end = source.find(mark, at + 1)
            if end < 0:
                break  # an apostrophe in a comment behind code
            found.add(source[at + 1 : end])
            at = end
        at += 1
    return found


def names() -> set[str]:
    """Return the facts that are names: of functions, articles and subsystems, and what taints mean."""
    known = facts.load()
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                found.add(key)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            found.add(value)

    for group in known["frames"].values():
        walk(list(group.values()) if isinstance(group, dict) else group)
    walk(list(known["subsystems"]["prefixes"]))
    walk([article["id"] for article in known["articles"]])
    walk(list(known["taints"]["letters"].values()))
    return {name for name in found if len(name) > 3} - COMMON


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_fact_stands_in_a_source(path: Path) -> None:
    here = strings(code(path)) & names()
    assert here == set()


def test_generated_files_are_current() -> None:
    assert list(generated._stale(write=False)) == []


def test_the_definitions_are_what_is_built() -> None:
    for name in ("allocfail", "allocfail-event"):
        definition = yaml.safe_load(content_path(f"pipelines/{name}.yml").read_text(encoding="utf-8"))
        tags = [p["tag"] for entry in definition["processors"] for p in entry.values()]
        for product in ENGINES:
            built = pipelines.build(product)[name]
            assert [p["tag"] for entry in built["processors"] for p in entry.values()] == tags


def test_the_links_lead_where_the_articles_are_served() -> None:
    body = json.dumps(pipelines.build("opensearch", kb_url="https://kb.example.org/"))
    assert "https://kb.example.org/" in body


def test_another_product_is_refused() -> None:
    with pytest.raises(InputError, match="not an engine: solr"):
        pipelines.build("solr")
