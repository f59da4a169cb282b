"""The articles as documents in the cluster, where Discover shows them and links may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.client import Engine, path
from allocfail.cluster.managed import ENTRY, inner_first, put_step, read_pipelines, with_digest
from allocfail.cluster.record import read_record, record_step
from allocfail.cluster.retry import taking
from allocfail.cluster.saved_objects import ARTICLES
from allocfail.cluster.steps import Change, Request, Step, carry_out, diff
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from allocfail.cluster.wanted import Wanted

__all__ = ["article_steps", "discover_url", "publish"]

#: What the engines answer where an index is made that somebody else has just made.
_THERE = "resource_already_exists_exception"
#: Documents of one answer, at most; the setting index.max_result_window has that value unless told.
_MOST = 10_000


def discover_url(dashboards_url: str, index: str = "allocfail-kb") -> str:
    """Return the address, with ``{section}`` in it, of a section's document in Discover of either product.

    ``dashboards_url`` is where people open Kibana or OpenSearch Dashboards, a space or base path included.
    """
    return f"{dashboards_url.rstrip('/')}/app/discover#/doc/{ARTICLES}/{index}?id={{section}}"


def publish(engine: Engine, wanted: Wanted, *, dry_run: bool = False) -> Iterator[Change]:
    """Put the articles into the cluster, remember where links lead, and let the pipelines that are there say so."""
    made = templates_.build(templates_.missing_types(engine))
    record = read_record(engine)
    after = record.copy()
    after.kb_url = wanted.kb_url or record.kb_url
    steps = article_steps(engine, made, wanted.articles)
    present = read_pipelines(engine)
    if ENTRY in present:
        bodies = {name: with_digest(engine, body) for name, body in wanted.pipelines.items()}
        steps += [put_step("pipeline", name, present.get(name), bodies[name]) for name in inner_first(bodies)]
    if remember := record_step(record, after):
        steps.append(remember)
    return carry_out(engine, steps, dry_run=dry_run)


def article_steps(engine: Engine, made: templates_.Templates, articles: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return the steps that bring the index of articles up to date, a document each section."""
    name = made.kb_index
    answer = engine.request("GET", path(name), missing_ok=True)
    with taking(engine, f"GET {path(name)}"):
        there = next(iter(answer.values()))["mappings"] if answer else None
    have: dict[str, Any] = {}
    if there is None:
        change = Change("index", name, "created", diff=diff(name, None, made.kb_body))
        steps = [Step(change, (Request("PUT", path(name), made.kb_body),), already=_THERE)]
    else:
        meta = there.get("_meta", {})
        if meta.get("managed_by") != templates_.MANAGED_BY:
            raise AllocfailError(f"index {name} is there and not allocfail's: rename or remove it first")
        if meta == made.kb_body["mappings"]["_meta"]:
            have = _stored(engine, name)
            steps = [Step(Change("index", name, "unchanged"))]
        else:
            # Nobody's data but the articles, which come right after, is in it.
            difference = diff(name, there, made.kb_body["mappings"])
            anew = (Request("DELETE", path(name)), Request("PUT", path(name), made.kb_body))
            steps = [Step(Change("index", name, "updated", diff=difference), anew, already=_THERE)]
    return [*steps, *_article_steps(name, _by_article(articles), _by_article(have.values()))]


def _by_article(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the documents of each article by their ids."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for document in documents:
        found.setdefault(str(document["article"]), {})[str(document["id"])] = document
    return found


def _article_steps(
    index: str, wanted: dict[str, dict[str, Mapping[str, Any]]], have: dict[str, dict[str, Mapping[str, Any]]]
) -> Iterator[Step]:
    """Yield a step for each article, which writes the sections that differ and deletes those that are gone."""
    for article in [*wanted, *(gone for gone in have if gone not in wanted)]:
        after, before = wanted.get(article, {}), have.get(article, {})
        actions: list[Mapping[str, Any]] = [
            {"_op_type": "index", "_index": index, "_id": name, "_source": document}
            for name, document in after.items()
            if before.get(name) != document
        ]
        actions += [{"_op_type": "delete", "_index": index, "_id": name} for name in before if name not in after]
        action = "unchanged" if not actions else "removed" if not after else "updated" if before else "created"
        change = Change("article", article, action, "", diff(article, before or None, after or None) if actions else "")
        yield Step(change, (Request("POST", path(index, "_refresh")),) if actions else (), tuple(actions))


def _stored(engine: Engine, name: str) -> dict[str, Any]:
    engine.request("POST", path(name, "_refresh"))
    answer = engine.request("POST", f"{path(name, '_search')}?size={_MOST}", {"query": {"match_all": {}}})
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}
