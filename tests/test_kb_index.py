"""The index of the articles on real engines: whole, a document each section, and found by what people type."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.articles import articles as kb
from allocfail.cluster.publishing import publish
from allocfail.cluster.wanted import wanted_content
from allocfail.content import content_path
from clusters import actions
from test_search import QUESTIONS

if TYPE_CHECKING:
    from allocfail.cluster.client import Engine

pytest_plugins = ["cluster_fixtures"]

INDEX = "/allocfail-kb"
WORDS = "fragmention order 4"


def documented() -> str:
    """Return the search of docs/operations.md."""
    text = content_path("docs/operations.md").read_text(encoding="utf-8")
    return text.partition("```json kb-search\n")[2].partition("```")[0]


@pytest.fixture
def articles(cluster: Engine) -> Engine:
    list(publish(cluster, wanted_content(cluster.product, "https://kb.example.org/")))
    return cluster


def found(cluster: Engine, body: dict[str, Any]) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = cluster.request("POST", f"{INDEX}/_search", {**body, "size": 5})["hits"]["hits"]
    return hits


def places(hits: list[dict[str, Any]]) -> list[str]:
    return [str(hit["_id"]).replace(".", "#") for hit in hits]


def test_every_section_is_there(articles: Engine) -> None:
    answer = articles.request("POST", f"{INDEX}/_search", {"size": 10_000})
    there = {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}
    wanted = {item.id for item in kb.load()}
    wanted |= {f"{item.id}.{head.anchor}" for item in kb.load() for head in item.headings if head.anchor}
    assert there.keys() == wanted
    assert {one["id"] for one in there.values()} == wanted
    for item in kb.load():
        assert there[item.id]["whole"] == kb.plain(item.body)
        for head in item.headings:
            if head.anchor:
                part = there[f"{item.id}.{head.anchor}"]
                assert part["heading"] == head.text
                assert part["url"] == f"https://kb.example.org/{item.id}.html#{head.anchor}"
                assert part["body"].strip()


def test_questions_find_their_sections(articles: Engine) -> None:
    asked = documented()
    first, near = [], []
    for question, wanted in QUESTIONS.items():
        hits = found(articles, json.loads(asked.replace(WORDS, question)))
        first.append(places(hits)[0].partition("#")[0] == wanted.partition("#")[0])
        near.append(wanted in places(hits))
        assert all(len(hit["highlight"]["body"]) == 1 for hit in hits), "each with a snippet"
        assert hits[0]["_source"]["url"].startswith("https://kb.example.org/")
    # The command and the pages find all first; an engine ranks in its own way.
    assert sum(near) >= len(QUESTIONS) - 2
    assert sum(first) >= len(QUESTIONS) - 4


def test_words_in_the_search_bar_find_sections(articles: Engine) -> None:
    """What Discover makes of words without a field: all of them in one field, or some."""
    near = []
    for question, wanted in QUESTIONS.items():
        hits = found(articles, {"query": {"multi_match": {"type": "best_fields", "query": question, "lenient": True}}})
        near.append(wanted.partition("#")[0] in {one.partition("#")[0] for one in places(hits)})
    assert sum(near) >= len(QUESTIONS) - 3


def test_a_section_that_changes_or_goes(articles: Engine) -> None:
    wanted = wanted_content(articles.product, "https://kb.example.org/")
    assert set(actions(publish(articles, wanted)).values()) == {"unchanged"}
    kept = [dict(one) for one in wanted.articles if one["id"] != "crash-kernel.why" and one["article"] != "oom-kill"]
    next(one for one in kept if one["id"] == "gfp-flags")["title"] = "Another"
    made = actions(publish(articles, replace(wanted, articles=kept)))
    made = {name: action for name, action in made.items() if action != "unchanged"}
    assert made == {
        "article crash-kernel": "updated",
        "article gfp-flags": "updated",
        "article oom-kill": "removed",
    }
    for gone in ("crash-kernel.why", "oom-kill", "oom-kill.which"):
        assert articles.request("GET", f"{INDEX}/_doc/{gone}", missing_ok=True) is None
    assert articles.request("GET", f"{INDEX}/_doc/gfp-flags")["_source"]["title"] == "Another"
