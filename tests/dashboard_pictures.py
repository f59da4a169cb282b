"""Makes the pictures of docs/dashboards.md anew: ``python tests/dashboard_pictures.py`` (needs chromium).

What is drawn is what a real engine answers to the panels' own searches, laid out as the dashboard lays it out. It
is no screenshot: the pages' own colours, letters and margins differ.
"""

from __future__ import annotations

import html
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vl_convert
from markdown_it import MarkdownIt

import kuery
import panels
import sample_events
from allocfail.articles import articles as kb
from allocfail.cluster import dashboards, saved_objects
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.install import Wanted, install
from clusters import PIPELINES, remove_all
from engines import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
WIDTH, UNIT, GAP = 1440, 20, 8
COLOURS = ["#54b399", "#6092c0", "#d36086", "#9170b8", "#ca8eae", "#d6bf57", "#b9a888", "#da8b45", "#aa6556", "#e7664c"]
STYLE = """
body{margin:0;background:#fafbfd;font:13px/1.4 Inter,"DejaVu Sans",Arial,sans-serif;color:#343741}
.said{padding:6px 12px;background:#fff3d0;font-size:12px} h1{font-size:18px;margin:10px 12px}
.panel{position:absolute;background:#fff;border:1px solid #d3dae6;border-radius:4px;overflow:hidden}
.panel{box-sizing:border-box} .panel h2{font-size:13px;margin:6px 8px 4px} .panel .in{padding:0 8px}
table{border-collapse:collapse;width:100%;font-size:12px} td,th{padding:4px 5px;text-align:left}
th{border-bottom:1px solid #d3dae6} td{border-bottom:1px solid #eef1f6;vertical-align:top}
a{color:#006bb4;text-decoration:none} ul,ol,p{margin:4px 0;padding-left:18px} p{padding:0}
.n{display:inline-block;text-align:center;margin:22px 0 0;width:33%} .n b{font-size:36px;display:block;line-height:1.1}
.c{padding:1px 5px;border-radius:2px} .own text{font-size:11px;fill:#69707d}
"""


def sample() -> list[dict[str, Any]]:
    """Return a month of the sample's events, on nine hosts, some of them often; drawn alike every time."""
    draw = random.Random(7)
    now = datetime.now(UTC)
    found = []
    groups: dict[str, dict[str, Any]] = {}
    for event in sample_events.documents():
        for name in kuery.values(event, "allocfail.fingerprint.id"):
            groups.setdefault(name, event)
    for number, event in enumerate(groups.values()):
        for _ in range([14, 9, 6, 5, 4, 3, 2, 2, 1][number % 9]):
            copy = json.loads(json.dumps(event))
            name = f"{draw.choice(['web', 'db', 'k8s'])}{draw.randint(1, 3):02}"
            copy["host"] |= {"name": name, "hostname": name}
            copy["related"] = {"hosts": [name]}
            days = draw.uniform(0, 2 if number % 6 == 5 else 28)
            copy["@timestamp"] = (now - timedelta(days=days)).isoformat(timespec="milliseconds")
            found.append(copy)
    return found


@contextmanager
def cluster() -> Iterator[Engine]:
    """Yield an engine with the sample in it: one that the environment names, or an OpenSearch of its own."""
    url = os.environ.get("ALLOCFAIL_TEST_OPENSEARCH") or os.environ.get("ALLOCFAIL_TEST_ELASTICSEARCH")
    if url:
        with connect(connection(url, timeout=120)) as engine:
            yield _filled(engine)
            remove_all(engine)
        return
    with harness.start_opensearch() as running, connect(connection(running.url, timeout=120)) as engine:
        yield _filled(engine)


def _filled(engine: Engine) -> Engine:
    remove_all(engine)
    articles = [one for article in kb.load() for one in kb.documents(article, "http://127.0.0.1:8765/")]
    list(install(engine, Wanted(PIPELINES, articles)))
    sent = [{"_op_type": "index", "_index": "allocfail-events", "_source": event} for event in sample()]
    assert {result.status for result in engine.bulk(sent)} == {201}
    engine.request("POST", path("allocfail-events", "_refresh"))
    return engine


class Drawer:
    """Draws panels as HTML."""

    def __init__(self, engine: Engine, board: panels.Board, extra: str) -> None:
        self.engine = engine
        self.board = board
        self.extra = extra
        view = board.objects["index-pattern", "allocfail-events"]
        self.formats = json.loads(view["attributes"]["fieldFormatMap"])

    def ask(self, item: panels.Item, body: dict[str, Any]) -> dict[str, Any]:
        title = self.board.view(item)["attributes"]["title"]
        answer: dict[str, Any] = self.engine.request("POST", f"{path(title, '_search')}?ignore_unavailable=true", body)
        return answer

    def shown(self, field: str, value: Any) -> str:
        """Return a value as the page shows it: a link, in colour, in words."""
        if isinstance(value, list):
            return ", ".join(self.shown(field, one) for one in value)
        text = html.escape(_moment(value) if field == "@timestamp" else str(value))
        one = self.formats.get(field, {"id": "", "params": {}})
        params = one["params"]
        if one["id"] == "url":
            label = params.get("labelTemplate", "{{value}}").replace("{{value}}", text)
            return f"<a>{label}</a>"
        if one["id"] == "static_lookup":
            key = str(value).lower() if isinstance(value, bool) else str(value)
            return next((html.escape(entry["value"]) for entry in params["lookupEntries"] if entry["key"] == key), text)
        for colour in params.get("colors", []):
            if re.search(colour["regex"], str(value)):
                return f'<span class=c style="color:{colour["text"]};background:{colour["background"]}">{text}</span>'
        return text

    def panel(self, item: panels.Item, width: int, height: int) -> str:
        if item["type"] == "search":
            return self._search(item)
        state = json.loads(item["attributes"]["visState"])
        if state["type"] == "markdown":
            return str(MarkdownIt().render(state["params"]["markdown"]))
        if state["type"] == "vega":
            return self._vega(item, width, height)
        answer = self.ask(item, self.board.aggregated(item, self.extra))
        makers = {
            "metric": self._metric,
            "table": self._table,
            "histogram": self._histogram,
            "horizontal_bar": self._bars,
            "pie": self._pie,
        }
        return makers[state["type"]](item, state, answer, width, height)

    def _search(self, item: panels.Item) -> str:
        columns = ["@timestamp", *item["attributes"]["columns"]]
        hits = self.ask(item, self.board.search(item, self.extra))["hits"]["hits"][:9]
        rows = [[self.shown(one, kuery.values(hit["_source"], one) or "-") for one in columns] for hit in hits]
        return _grid([one if one != "@timestamp" else "Time" for one in columns], rows)

    def _vega(self, item: panels.Item, width: int, height: int) -> str:
        spec = json.loads(json.loads(item["attributes"]["visState"])["params"]["spec"])
        for name, index, body in self.board.vega(item, self.extra):
            [data] = [one for one in spec["data"] if one["name"] == name]
            del data["url"]
            data["values"] = self.engine.request("POST", f"{path(index, '_search')}?ignore_unavailable=true", body)
        return str(vl_convert.vega_to_svg({**spec, "width": width - 16, "height": height - 34}))

    def _metric(self, _: panels.Item, state: Any, answer: Any, *__: int) -> str:
        cells = []
        for agg in state["aggs"]:
            found = answer.get("aggregations", {}).get(agg["id"], {"value": answer["hits"]["total"]["value"]})
            cells.append(f"<div class=n><b>{found['value']}</b>{agg['params']['customLabel']}</div>")
        return "".join(cells)

    def _table(self, item: panels.Item, state: Any, answer: Any, *_: int) -> str:
        bucket, *metrics = state["aggs"]
        rows = []
        for one in answer["aggregations"][bucket["id"]]["buckets"][: state["params"]["perPage"]]:
            key = bucket["params"]["missingBucketLabel"] if one["key"] == panels.MISSING else one["key"]
            row = [self.shown(bucket["params"]["field"], key)]
            for agg in metrics:
                field = agg["params"].get("field", "")
                if agg["type"] == "count":
                    row.append(str(one["doc_count"]))
                elif agg["type"] == "top_hits":
                    values = kuery.values(one[agg["id"]]["hits"]["hits"][0]["_source"], field)
                    row.append(self.shown(field, values or "-"))
                elif agg["type"] == "cardinality":
                    row.append(str(one[agg["id"]]["value"]))
                else:
                    found = one[agg["id"]]
                    row.append(self.shown(field, found.get("value_as_string", found["value"])))
            rows.append(row)
        widths = json.loads(item["attributes"]["uiStateJSON"])["vis"]["columnsWidth"]
        return _grid([agg["params"]["customLabel"] for agg in state["aggs"]], rows, [one["width"] for one in widths])

    def _histogram(self, _: panels.Item, state: Any, answer: Any, width: int, height: int) -> str:
        _count, time, group = state["aggs"]
        buckets = answer["aggregations"][time["id"]]["buckets"]
        totals: Counter[str] = Counter()
        for one in buckets:
            totals.update({inner["key"]: inner["doc_count"] for inner in one[group["id"]]["buckets"]})
        names = [name for name, _ in totals.most_common()]
        first, last = buckets[0]["key"], buckets[-1]["key"]
        high = max(sum(inner["doc_count"] for inner in one[group["id"]]["buckets"]) for one in buckets)
        inner_width, inner_height = width - 215, height - 62
        step = 12 * 3600 * 1000
        bar = max(2.0, inner_width / ((last - first) / step + 1) - 1)
        out = []
        for one in buckets:
            x = 34 + (one["key"] - first) / max(1, last - first) * (inner_width - bar)
            y = float(inner_height + 8)
            for inner in sorted(one[group["id"]]["buckets"], key=lambda each: names.index(each["key"])):
                tall = inner["doc_count"] / high * inner_height
                y -= tall
                colour = COLOURS[names.index(inner["key"]) % len(COLOURS)]
                out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{tall:.1f}" fill="{colour}"/>')
        out.append(f'<text x="4" y="18">{high}</text><text x="4" y="{inner_height + 8}">0</text>')
        for part in range(5):
            at = datetime.fromtimestamp((first + (last - first) * part / 4) / 1000, UTC)
            out.append(f'<text x="{30 + part / 4 * (inner_width - 50):.0f}" y="{inner_height + 24}">{at:%b %d}</text>')
        for number, name in enumerate(names[:10]):
            y, label = 18 + 16 * number, self.shown(group["params"]["field"], name)
            colour = COLOURS[number % len(COLOURS)]
            out.append(f'<circle cx="{width - 165}" cy="{y - 4}" r="4" fill="{colour}"/>')
            out.append(f'<text x="{width - 156}" y="{y}">{label}</text>')
        return f'<svg class=own width="{width - 16}" height="{height - 30}">{"".join(out)}</svg>'

    def _bars(self, _: panels.Item, state: Any, answer: Any, width: int, height: int) -> str:
        terms = state["aggs"][1]
        buckets = answer["aggregations"][terms["id"]]["buckets"]
        high = max(one["doc_count"] for one in buckets)
        step = (height - 50) / len(buckets)
        out = []
        for number, one in enumerate(buckets):
            missing = one["key"] == panels.MISSING
            name = (
                terms["params"]["missingBucketLabel"] if missing else self.shown(terms["params"]["field"], one["key"])
            )
            y, long = number * step, one["doc_count"] / high * (width - 280)
            out.append(f'<text x="212" y="{y + step / 2 + 4:.1f}" text-anchor="end">{name}</text>')
            out.append(
                f'<rect x="218" y="{y + 2:.1f}" width="{long:.1f}" height="{step - 4:.1f}" fill="{COLOURS[0]}"/>'
            )
            out.append(f'<text x="{222 + long:.1f}" y="{y + step / 2 + 4:.1f}">{one["doc_count"]}</text>')
        return f'<svg class=own width="{width - 16}" height="{height - 34}">{"".join(out)}</svg>'

    def _pie(self, item: panels.Item, state: Any, answer: Any, width: int, height: int) -> str:
        colours = json.loads(item["attributes"]["uiStateJSON"])["vis"]["colors"]
        buckets = answer["aggregations"][state["aggs"][1]["id"]]["buckets"]
        total = sum(one["doc_count"] for one in buckets.values()) or 1
        x, y, far, near = (width - 130) / 2, (height - 40) / 2, min(width - 150, height - 60) / 2, 0.6
        at, out = 0.0, []
        for number, (label, one) in enumerate(buckets.items()):
            part = one["doc_count"] / total
            a, b = (2 * math.pi * (at + share) - math.pi / 2 for share in (0, min(part, 0.9999)))
            at += part
            points = [
                (x + far * f * math.cos(g), y + far * f * math.sin(g))
                for f, g in ((1, a), (1, b), (near, b), (near, a))
            ]
            big = int(part > 0.5)
            (p, q, r, s) = (f"{i:.1f} {j:.1f}" for i, j in points)
            shape = f"M{p}A{far} {far} 0 {big} 1 {q}L{r}A{far * near} {far * near} 0 {big} 0 {s}Z"
            out.append(f'<path d="{shape}" fill="{colours[label]}"/>')
            row = 18 + 18 * number
            out.append(f'<circle cx="{width - 140}" cy="{row - 4}" r="4" fill="{colours[label]}"/>')
            out.append(f'<text x="{width - 131}" y="{row}">{label} ({100 * part:.0f}%)</text>')
        return f'<svg class=own width="{width - 16}" height="{height - 34}">{"".join(out)}</svg>'


def _moment(value: Any) -> str:
    text = value[0] if isinstance(value, list) else str(value)
    return datetime.fromisoformat(text).strftime("%b %d, %Y @ %H:%M:%S")


def _grid(head: list[str], rows: list[list[str]], widths: list[int] | None = None) -> str:
    sizes = "".join(f'<col style="width:{width}px">' for width in widths or [])
    top = "".join(f"<th>{html.escape(one)}</th>" for one in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{sizes}<tr>{top}</tr>{body}</table>"


def drawn(drawer: Drawer, board: panels.Item) -> tuple[str, int]:
    """Return a dashboard as a page, and the page's height."""
    unit, top = (WIDTH - GAP) / 48, 80
    parts, bottom = [], 0
    said = "Drawn from the answers of a real engine to the panels' own searches; not a screenshot."
    for panel in json.loads(board["attributes"]["panelsJSON"]):
        grid = panel["gridData"]
        [reference] = [one for one in board["references"] if one["name"] == panel["panelRefName"]]
        item = drawer.board.objects[reference["type"], reference["id"]]
        width, height = int(grid["w"] * unit - GAP), grid["h"] * (UNIT + GAP) - GAP
        left, above = int(grid["x"] * unit + GAP), top + grid["y"] * (UNIT + GAP)
        bottom = max(bottom, above + height)
        title = html.escape(item["attributes"]["title"])
        inside = drawer.panel(item, width, height)
        place = f"left:{left}px;top:{above}px;width:{width}px;height:{height}px"
        parts.append(f'<div class=panel style="{place}"><h2>{title}</h2><div class=in>{inside}</div></div>')
    name = html.escape(board["attributes"]["title"])
    page = f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><div class=said>{said}</div><h1>{name}</h1>"
    return page + "".join(parts), bottom + GAP


def photograph(page: str, height: int, target: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("no chromium")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        flags += [f"--window-size={WIDTH},{height}", "--hide-scrollbars", f"--screenshot={target}", file.as_uri()]
        subprocess.run([browser, *flags], check=True, capture_output=True)


def main() -> None:
    with cluster() as engine:
        objects = saved_objects.build(engine.product, patterns=dashboards.patterns("allocfail-events*", []))
        board = panels.Board(objects)
        sites = [one for one in sample() if kuery.values(one, "allocfail.memory.worst_zone")]
        [(group, _)] = Counter(one["allocfail"]["fingerprint"]["id"] for one in sites).most_common(1)
        for name, extra in (("allocfail-failures", ""), ("allocfail-failure", f'allocfail.fingerprint.id: "{group}"')):
            page, height = drawn(Drawer(engine, board, extra), board.objects["dashboard", name])
            photograph(page, height, IMAGES / f"dashboard-{name.removeprefix('allocfail-')}.png")


if __name__ == "__main__":
    main()
