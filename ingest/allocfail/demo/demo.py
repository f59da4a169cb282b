"""The demonstration: install into a node, send the sample log through the pipeline, search it back, show it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.articles import articles as kb
from allocfail.cluster import dashboards, saved_objects
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import EngineError
from allocfail.cluster.install import install
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.wanted import wanted_content
from allocfail.content import content_path
from allocfail.decoder.fields import at
from allocfail.errors import NotFoundError
from allocfail.logs import events as decoder
from allocfail.report.event import facts_of, headline, judgement
from allocfail.report.layout import laid_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from allocfail.report.event import Line

__all__ = ["DASHBOARDS_URL", "INDEX", "Group", "dashboard_address", "run", "show"]

#: Where the demo's events go: below the name that the index template and the data view match.
INDEX = "allocfail-events-demo"
_SAMPLE = "samples/svn3-centos6.log"
_TAG = "kernel-allocation-failure"
#: Alias of the index in which OpenSearch Dashboards keeps saved objects (its setting ``opensearchDashboards.index``).
_DASHBOARDS = ".kibana"
#: Where one listens unless told otherwise (its setting ``server.port``).
DASHBOARDS_URL = "http://127.0.0.1:5601"


class Group(NamedTuple):
    """One group of the search result: events with the same fingerprint."""

    id: str
    events: list[dict[str, Any]]
    """Their documents, as the engine holds them, oldest first."""


def _messages() -> Iterator[str]:
    """Yield the sample log cut into one dump a text, undecoded, as a shipper that joins lines delivers it."""
    for event in decoder.decode_bytes(content_path(_SAMPLE).read_bytes()):
        yield event.document["event"]["original"]


def run(url: str, kb_url: str) -> list[Group]:
    """Install all into the cluster at ``url``, send the sample log through the pipeline, and return what is found.

    ``kb_url`` is where the articles are served. Running it again changes nothing. Raises
    :class:`allocfail.errors.AllocfailError` where the cluster refuses a step or the search finds nothing.
    """
    with connect(connection(url)) as engine:
        for _ in install(engine, wanted_content(engine.product, kb_url)):
            pass
        _put_saved_objects(engine, kb_url)
        _ingest(engine)
        return _search(engine)


def _put_saved_objects(engine: Engine, kb_url: str) -> None:
    """Put dashboards and searches where OpenSearch Dashboards keeps such objects in the cluster it is pointed at.

    One that is pointed at this node shows them; into any other, ``install --dashboards-url`` imports them.
    """
    if engine.request("GET", path("_alias", _DASHBOARDS), missing_ok=True) is None:
        body = {
            "aliases": {_DASHBOARDS: {}},
            "mappings": {"dynamic": False, "properties": {"type": {"type": "keyword"}}},
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        }
        engine.request("PUT", path(_DASHBOARDS + "_1"), body)
    actions = []
    for item in saved_objects.build(engine.product, kb_url=kb_url):
        kind = item["type"]
        kept = {key: item[key] for key in ("type", "references", "migrationVersion")}
        source = {**kept, kind: item["attributes"]}
        actions.append({"_op_type": "index", "_index": _DASHBOARDS, "_id": f"{kind}:{item['id']}", "_source": source})
    for result in engine.bulk(actions):
        if result.status >= 300:
            raise EngineError(f"saved objects: {result.reason} ({result.status} {result.kind})")
    engine.request("POST", path(_DASHBOARDS, "_refresh"))


def dashboard_address(product: str, url: str) -> str | None:
    """Return the address of the dashboard where one at ``url`` shows what the demo has put into its node; else None."""
    there = dashboards.place(connection(url, timeout=2), product)
    try:
        return dashboards.address(there) if dashboards.is_there(there) else None
    except EngineError:
        return None


def _ingest(engine: Engine) -> None:
    actions = [
        {
            "_op_type": "index",
            "_index": INDEX,
            # Its text is its name: sent again, a dump takes its own place.
            "_id": hashlib.sha256(message.encode()).hexdigest()[:40],
            "pipeline": ENTRY,
            "_source": {"message": message, "log": {"file": {"path": content_path(_SAMPLE).name}}},
        }
        for message in _messages()
    ]
    for result in engine.bulk(actions):
        if result.status >= 300:
            raise EngineError(f"the sample log was not indexed: {result.reason} ({result.status} {result.kind})")
    engine.request("POST", path(INDEX, "_refresh"))


def _search(engine: Engine) -> list[Group]:
    """Search as a saved search does: by tag, newest group first."""
    query = {
        "query": {"bool": {"filter": [{"term": {"tags": _TAG}}, {"exists": {"field": "allocfail.fingerprint.id"}}]}},
        "sort": [{"@timestamp": "asc"}],
        "size": 100,
    }
    groups: dict[str, Group] = {}
    for hit in engine.request("POST", path(INDEX, "_search"), query)["hits"]["hits"]:
        event = hit["_source"]
        name = event["allocfail"]["fingerprint"]["id"]
        groups.setdefault(name, Group(name, [])).events.append(event)
    if not groups:
        raise NotFoundError("the pipeline found no event in the sample log")
    return list(groups.values())


def _words(value: Any) -> str:
    """Return a field's value for a person, with nothing in it that a terminal obeys."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return kb.printable(str(value))


def _facts(event: Mapping[str, Any]) -> Iterator[Line]:
    """Yield what the decoder found in an event: the answer, then the facts."""
    own = event["allocfail"]
    yield from judgement(own.get("verdict", {}), str(own.get("kind")))
    yield from facts_of(dict(event))


def show(groups: Sequence[Group], url: str, console: Console) -> None:
    """Print search results for a person: each group with its events, what was decoded, and the articles."""
    from rich.rule import Rule  # noqa: PLC0415 - only where it prints
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    for group in groups:
        first, count = group.events[0], len(group.events)
        console.print(Rule(Text(f"group {_words(group.id)}"), align="left"))
        console.print(Text(headline(dict(first)), style="bold"))
        facts = laid_out(_facts(first), width=console.width, colour=console.is_terminal)
        console.print(Text.from_ansi(facts.rstrip("\n")), soft_wrap=True)
        console.print()
        console.print(Text(f"{count} event{'' if count == 1 else 's'}", style="bold"))
        events = Table.grid(padding=(0, 2))
        for event in group.events:
            cells = ("@timestamp", "host.hostname", "process.name", "event.reason")
            events.add_row(*(Text(_words(at(event, cell) or "")) for cell in cells))
        console.print(events)
        label = "read"
        for article in at(first, "allocfail.kb") or ():
            console.print()
            console.print(Text(f"{label}: {_words(article['title'])}", style="bold"))
            if article.get("why"):
                console.print(Text(_words(article["why"])))
            # A link stays in one piece, however narrow the terminal.
            console.print(Text(_words(article["url"]), style="cyan underline"), soft_wrap=True)
            label = "also"
    console.print(Rule())
    query = f'{{"query":{{"term":{{"tags":"{_TAG}"}}}}}}'
    console.print(Text("search it yourself:", style="dim"))
    command = f"curl -s '{url}/{INDEX}/_search?pretty' -H 'Content-Type: application/json' -d '{query}'"
    console.print(Text(f"  {command}"), soft_wrap=True)
    if address := dashboard_address("opensearch", DASHBOARDS_URL):
        console.print(Text("the dashboard:", style="dim"))
        console.print(Text(f"  {address}"), soft_wrap=True)
        return
    console.print(
        Text("dashboards are in .kibana, for a Dashboards that is pointed at the node; any other imports them:"),
        style="dim",
        soft_wrap=True,
    )
    there = f"--dashboards-url {DASHBOARDS_URL} --kb-url {kb.DEFAULT_URL}"
    console.print(Text(f"  allocfail install --url {url} {there}"), soft_wrap=True)
