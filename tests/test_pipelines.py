"""The pipelines as definitions and as generated: what every reader and reviewer of them may rely on."""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from allocfail import facts
from allocfail.build import __main__ as generated
from allocfail.content import content_path
from allocfail.decoder.options import Options
from allocfail.decoder.steps import STEPS, open_sources
from allocfail.errors import InputError
from allocfail.painless import pipelines
from allocfail.release import version_number, version_text

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
    "oom-kill",
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
        told = {processor["field"]: processor for _, processor in processors({**body, "processors": []})}
        assert told["event.kind"]["value"] == "pipeline_error"
        for field in ("error.message", "allocfail.error"):
            for word in ("on_failure_processor_type", "on_failure_processor_tag", "on_failure_message"):
                assert f"{{{{{{_ingest.{word}}}}}}}" in told[field]["value"]
        assert all(processor["ignore_failure"] for processor in told.values())
        # What is there stays.
        assert all(one["override"] is False for one in told.values() if "value" in one and "override" in one)
        assert [one["field"] for one in told.values() if "override" not in one] == ["_allocfail_work", "tags"]


def test_scripts_are_the_steps_that_python_takes() -> None:
    definition = yaml.safe_load(content_path("pipelines/allocfail-event.yml").read_text(encoding="utf-8"))
    named = [body["step"] for processor in definition["processors"] for body in processor.values() if "step" in body]
    assert named == [f"{step.__module__}.{step.__name__}" for step in (open_sources, *STEPS)]


@pytest.mark.parametrize("product", ENGINES)
def test_scripts_are_few_and_of_a_size_that_both_engines_take(product: str) -> None:
    scripts = [p for body in pipelines.build(product).values() for kind, p in processors(body) if kind == "script"]
    assert len(scripts) <= 12
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
        for product in ENGINES:
            needed = [
                entry
                for entry in definition["processors"]
                if all(body.get("engine", product) == product for body in entry.values())
            ]
            tags = [p["tag"] for entry in needed for p in entry.values()]
            built = pipelines.build(product)[name]
            assert [p["tag"] for entry in built["processors"] for p in entry.values()] == tags


def test_the_links_lead_where_the_articles_are_served() -> None:
    body = json.dumps(pipelines.build("opensearch", kb_url="https://kb.example.org/"))
    assert "https://kb.example.org/" in body


def test_another_product_is_refused() -> None:
    with pytest.raises(InputError, match="not an engine: solr"):
        pipelines.build("solr")


def words(body: dict[str, Any]) -> set[str]:
    return {option for _, processor in processors(body) for option in processor}


def test_older_releases_get_what_they_take() -> None:
    newest = pipelines.build("elasticsearch")["allocfail-event"]
    assert newest["_meta"] == {"managed_by": "allocfail"}
    assert "ignore_missing_pipeline" in words(newest)
    for version in ("7.10", "7.16.3", "7"):
        old = pipelines.build("elasticsearch", version=version)["allocfail-event"]
        assert "_meta" not in old
        assert "ignore_missing_pipeline" not in words(old)
    assert "_meta" in pipelines.build("elasticsearch", version="7.17")["allocfail"]
    assert pipelines.dialect("elasticsearch", "9.4.3").release == (9, 4)
    for version in ("seven", "7.x", "-1"):
        with pytest.raises(InputError, match="not a version"):
            pipelines.build("elasticsearch", version=version)


def test_the_release_is_the_version() -> None:
    for product in ENGINES:
        assert {body["version"] for body in pipelines.build(product).values()} == {version_number()}
    assert version_text(1_002_003) == "1.2.3"
    assert version_text(version_number()) == metadata.version("allocfail")


def test_only_some_fields_are_written() -> None:
    body = pipelines.build("opensearch", only=("allocfail", "tags"))["allocfail-event"]
    fields = {processor["field"] for _, processor in processors({**body, "processors": []})}
    assert fields == {"_allocfail_work", "allocfail.error", "tags"}
    write = next(p for _, p in processors(body) if p["tag"] == "allocfail-fill")
    fields = [field.name for field in dataclasses.fields(Options)]
    assert write["params"]["options"][fields.index("only")] == ["allocfail", "tags"]
