"""The page for one event: what it shows, and that nothing a log or a document holds becomes more than text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from allocfail.articles import site
from allocfail.articles.shell import breakable
from allocfail.content import content_path
from allocfail.logs.events import Options, decode_bytes
from allocfail.report import charts, html, pages
from browser import chromium, dumped

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = content_path("samples/svn3-centos6.log").read_bytes()
NEEDS_BROWSER = pytest.mark.skipif(chromium() is None, reason="no chromium here: nothing is tried in a real browser")

ZONE = {
    "node": 0,
    "name": "Normal",
    "free_kb": 20672,
    "min_kb": 56392,
    "low_kb": 65880,
    "high_kb": 75368,
    "reserve_pages": [0, 0, 0, 0, 0],
    "free_blocks": [347, 250, 655, 80, 29, 7, 6, 0, 0, 0, 0],
    "block_types": ["UME", "UM", "M", "", "", "", "", "", "", "", ""],
    "largest_free_order": 6,
}
JUDGED = {
    "node": 0,
    "name": "Normal",
    "state": "below",
    "usable_kb": 18000,
    "needed_kb": 21148,
    "mark_kb": 21148,
    "reserve_kb": 0,
    "largest_usable_order": 6,
}
DOCUMENT: dict[str, Any] = {
    "@timestamp": "2026-03-01T10:00:00.000Z",
    "message": "nginx: page allocation failure: order:2, mode:0x820(GFP_ATOMIC)",
    "event": {
        "reason": "page allocation failure: order 2 in alloc_rx (somenic), GFP_ATOMIC",
        "original": "line 1\nline 2",
    },
    "host": {"hostname": "web7", "os": {"kernel": "6.12.0"}},
    "process": {"name": "nginx", "pid": 812},
    "allocfail": {
        "kind": "page_allocation_failure",
        "order": 2,
        "gfp": {
            "mask": "0x820",
            "name": "GFP_ATOMIC",
            "flags": ["__GFP_HIGH", "__GFP_KSWAPD_RECLAIM"],
            "may_sleep": False,
        },
        "trace": {"functions": ["alloc_rx", "poll"], "reliable": [True, False], "context": "softirq"},
        "memory": {"zones": [ZONE], "page_kb": 4, "swap_total_kb": 0, "swap_free_kb": 0},
        "fingerprint": {"id": "af1:0000000000000001", "title": "page allocation failure"},
        "verdict": {
            "cause": "atomic-reserve",
            "summary": "Normal has 4,500 usable pages, this request may go down to 5,287.",
            "severity": "degraded",
            "severity_reason": "a packet was dropped",
            "zone_reclaim_mode": "cannot-act",
            "zone_reclaim_reason": "the request may not sleep",
            "actions": [
                {
                    "id": "min-free",
                    "action": "double vm.min_free_kbytes",
                    "command": "sysctl -w vm.min_free_kbytes=$((2*$(sysctl -n vm.min_free_kbytes)))",
                    "cost": "that memory is never used",
                    "check": "free",
                }
            ],
            "gave_up": ["it may not wait"],
            "zones": [JUDGED],
            "unknown": ["the atomic reserve"],
        },
        "kb": [
            {
                "id": "zone-reclaim-mode",
                "title": "vm.zone_reclaim_mode",
                "url": "http://127.0.0.1:8765/zone-reclaim-mode.html#cannot-act",
                "why": "It may not sleep.",
            }
        ],
    },
}


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.replace("<wbr>", "")))


@pytest.mark.parametrize(
    ("text", "fits", "shown"),
    [
        ("mode GFP_NOFS|__GFP_NOWARN ends", 20, "mode GFP_NOFS|<wbr>__GFP_NOWARN ends"),
        ("vm.zone_reclaim_mode", 20, "vm.zone_reclaim_mode"),
        ("vm.zone_reclaim_mode", 19, "vm.zone_<wbr>reclaim_<wbr>mode"),
        ("(__GFP_A|__GFP_DIRECT_RECLAIM)", 12, "(__GFP_A|<wbr>__GFP_<wbr>DIRECT_<wbr>RECLAIM)"),
        ("nodemask=(null),cpuset=/,mems", 9, "nodemask=(null),<wbr>cpuset=/,mems"),
        ("a &lt;b_c|d_e&gt; f", 4, "a &lt;b_<wbr>c|<wbr>d_<wbr>e&gt; f"),
        ("/sys/kernel/kexec_crash", 15, "/sys/<wbr>kernel/<wbr>kexec_<wbr>crash"),
        ("__ | ___", 0, "__ | ___"),
    ],
)
def test_lines_may_end_in_long_words(text: str, fits: int, shown: str) -> None:
    assert breakable(text, fits) == shown
    assert breakable(text, fits).replace("<wbr>", "") == text


def test_the_page_says_what_the_document_says() -> None:
    shown = html.standalone([DOCUMENT], "https://kb.example/").decode()
    text = text_of(shown)
    for said in (
        "order 2 in alloc_rx (somenic)",
        "degraded: something was dropped or delayed",
        "Normal has 4,500 usable pages",
        "double vm.min_free_kbytes",
        "Cost: that memory is never used",
        "Check: free",
        "Why it was let fail: it may not wait",
        "Do not set vm.zone_reclaim_mode: it cannot act here.",
        "A firmer answer needs: the atomic reserve",
        "order 2: 4 pages side by side, 16 kB",
        "below its limit",
        "web7",
        "none",
        "Code that must not wait",
    ):
        assert said in text, said
    assert "href='https://kb.example/zone-reclaim-mode.html#cannot-act'" in shown
    assert 'href="https://kb.example/atomic-allocation-failure.html#do-this"' in shown
    assert "? poll" in shown
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', shown)[0]
    assert "script-src &#x27;none&#x27;" in policy
    assert "form-action &#x27;none&#x27;" in policy
    assert "<form" not in shown
    assert "<script" not in shown
    assert not re.search(r"(?:src|href)=[\"']//", shown)


def test_without_a_place_for_the_articles_no_link_is_dead() -> None:
    shown = html.standalone([DOCUMENT], None).decode()
    assert "allocfail kb show zone-reclaim-mode" in shown
    assert re.findall(r"<a [^>]*href=[\"'](?!#)", shown) == []


def test_zones_without_a_verdict_are_shown_as_printed() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    del document["allocfail"]["verdict"]["zones"]
    document["allocfail"]["memory"]["zones"][0]["reserve_pages"] = [0, 0, 4433]
    shown = text_of(html.events([document]))
    assert "free 20.2 MB" in shown
    assert "lowmem_reserve 0, 0, 4433 pages of 4 kB" in shown
    assert "below its limit" not in shown


def test_equal_events_stand_once_with_times_and_hosts() -> None:
    later = json.loads(json.dumps(DOCUMENT))
    later["@timestamp"] = "2026-03-01T12:00:00.000Z"
    later["host"]["hostname"] = "web8"
    other = json.loads(json.dumps(DOCUMENT))
    other["allocfail"]["fingerprint"]["id"] = "af1:0000000000000002"
    shown = html.events([DOCUMENT, later, other])
    assert "3 events in 2 groups" in shown
    assert "2 times on web7, web8, 2026-03-01T10:00:00.000Z to 2026-03-01T12:00:00.000Z" in shown
    assert shown.count('<article class="event">') == 2
    assert shown.count("<circle") == 3
    assert len(re.findall(r"id='event-\d+'", shown)) == 2
    # A section is read once.
    assert shown.count("<details class='reading'") == 1


def test_many_groups_are_listed_and_the_first_shown() -> None:
    documents = []
    for number in range(200):
        document = json.loads(json.dumps(DOCUMENT))
        document["allocfail"]["fingerprint"]["id"] = f"af1:{number:016x}"
        documents.append(document)
    shown = html.events(documents)
    assert shown.count('<article class="event">') == html.MOST_GROUPS
    assert f"{200 - html.MOST_GROUPS} more groups are in the list above only." in shown
    assert len(shown) < 1_000_000


def test_charts_say_in_words_what_they_draw() -> None:
    drawn = charts.zone(ZONE, JUDGED)
    assert 'aria-label="free 20.2 MB, 17.6 MB of it count for this request, min 55.1 MB' in drawn
    assert "the request needed more than 20.7 MB" in drawn
    assert 'class="fig-hatch"' in drawn
    lists = charts.free_lists(ZONE, 7, 4)
    assert 'aria-label="Free blocks: largest free block: 256 kB; asked for 512 kB (dashed line)' in lists
    assert lists.count('class="fig-free"') == 0
    assert charts.free_lists(ZONE, 2, 4).count('class="fig-free"') == 5
    assert charts.zone({}) == ""
    assert charts.free_lists({}, 1, 4) == ""


@pytest.mark.parametrize(
    ("kb", "said"), [(0, "0 kB"), (1023, "1023 kB"), (1024, "1.0 MB"), (20672, "20.2 MB"), (1 << 30, "1.0 TB")]
)
def test_sizes_are_said_as_people_say_them(kb: int, said: str) -> None:
    assert charts.size(kb) == said


WRONG: list[Any] = [None, True, -1, 1 << 70, 1e308, "x", "", [], {}, [[]], [{}], [None], {"a": 1}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_document_of_any_shape_is_shown(wrong: Any) -> None:
    """Somebody may paste a document that our decoder never made."""

    def changed(value: Any) -> list[Any]:
        """Return ``value`` once for each place in it, with ``wrong`` at that place."""
        out = [wrong]
        for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            for other in changed(value[key]):
                copy = dict(value) if isinstance(value, dict) else list(value)
                copy[key] = other
                out.append(copy)
        return out

    for document in changed(DOCUMENT):
        if isinstance(document, dict):
            html.events([document])
            html.events([document, DOCUMENT])


def test_the_command_writes_one_file(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(SAMPLE)
    command = [sys.executable, "-m", "allocfail", "decode", "--format", "html"]
    made = subprocess.run([*command, str(log), str(log)], capture_output=True, check=True, timeout=60)
    text = made.stdout.decode()
    assert text.count("<!DOCTYPE html>") == 1
    assert "allocfail kb show zone-reclaim-mode" in text
    linked = subprocess.run(
        [*command, str(log), "--kb-url", "https://kb.example"], capture_output=True, check=True, timeout=60
    )
    assert b"href='https://kb.example/zone-reclaim-mode.html#cannot-act'" in linked.stdout
    none = subprocess.run([*command, "-"], input=b"nothing\n", capture_output=True, check=False, timeout=60)
    assert (none.returncode, none.stdout) == (1, b"")
    both = subprocess.run([*command, "--explain-fingerprint", str(log)], capture_output=True, check=False, timeout=60)
    assert both.returncode == 2


#: Each runs, where it runs at all, the same statement.
ATTACKS = [
    "<script>document.documentElement.dataset.owned = 1</script>",
    "<img src=x onerror=document.documentElement.dataset.owned=1>",
    '"><svg onload=document.documentElement.dataset.owned=1>',
    "'><svg/onload=document.documentElement.dataset.owned=1>",
    "' onmouseover='document.documentElement.dataset.owned=1' autofocus onfocus='x",
    "</pre></code></textarea></title></style></script><script>document.documentElement.dataset.owned=1</script>",
    "<iframe srcdoc='<script>parent.document.documentElement.dataset.owned=1</script>'></iframe>",
    "javascript:document.documentElement.dataset.owned=1",
    "<details open ontoggle=document.documentElement.dataset.owned=1>",
    "<style>@import 'x'</style><base href=//evil.example/><meta http-equiv=refresh content='0;url=//evil.example'>",
    "\u2028\u202e<svg><animate onbegin=document.documentElement.dataset.owned=1 attributeName=x dur=1s>",
    "--><!-- <![CDATA[ <script>document.documentElement.dataset.owned=1</script> ]]>",
    "\\u003cscript>document.documentElement.dataset.owned=1\\u003c/script>",
]


def hostile(attack: str, value: Any = DOCUMENT) -> Any:
    """Return a document with the attack in every text."""
    if isinstance(value, dict):
        return {key: hostile(attack, entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [hostile(attack, entry) for entry in value]
    return attack if isinstance(value, str) else value


def hostile_documents() -> list[dict[str, Any]]:
    documents = []
    for number, attack in enumerate(ATTACKS):
        document = hostile(attack)
        documents.append(document)
        # What the page believes must lead where the attack stands: ids, states and severities that it knows.
        known = hostile(attack)
        known["allocfail"]["fingerprint"]["id"] = f"{number}{attack}"
        known["allocfail"]["kb"][0]["id"] = "zone-reclaim-mode"
        known["allocfail"]["kb"][0]["url"] = f"javascript:x//{attack}#cannot-act"
        known["allocfail"]["verdict"]["zones"][0] |= {"node": 0, "name": attack}
        documents.append(known)
    return documents


def hostile_log(attack: str) -> bytes:
    line = attack.replace("\n", " ").encode()
    return (
        b"Mar  1 10:00:00 " + line[:30].replace(b" ", b"") + b" kernel: " + line[:60]
        + b": page allocation failure: order:1, mode:0x820(GFP_ATOMIC), nodemask=" + line.replace(b" ", b"")
        + b",cpuset=" + line + b",mems_allowed=" + line.replace(b" ", b"") + b"\n"
        b"Mar  1 10:00:00 h kernel: CPU: 0 PID: 1 Comm: x Not tainted " + line + b" #1\n"
        b"Mar  1 10:00:00 h kernel: Hardware name: " + line + b"\n"
        b"Mar  1 10:00:00 h kernel: Call Trace:\n"
        b"Mar  1 10:00:00 h kernel:  warn_alloc+0x1/0x2\n"
        b"Mar  1 10:00:00 h kernel:  __alloc_pages+0x1/0x2\n"
        b"Mar  1 10:00:00 h kernel:  " + line.replace(b" ", b"") + b"+0x1/0x2 [" + line.replace(b" ", b"") + b"]\n"
        b"SLUB: Unable to allocate memory on node -1, gfp=0x820(GFP_ATOMIC)\n"
        b"  cache: " + line + b", object size: 1, buffer size: 1, default order: 0, min order: 0\n"
    )  # fmt: skip


def tags(page: str) -> set[str]:
    return {name.lower() for name in re.findall(r"<\s*([A-Za-z][A-Za-z0-9]*)", page)}


#: Everything that our own pages are made of.
OURS = frozenset(
    re.findall(
        r"\w+",
        "a article blockquote body br circle code dd details div dl dt em figure footer h1 h2 h3 h4 head header hr "
        "html li link main meta ol p path pre rect section span strong style summary svg table tbody td text th thead "
        "title tr ul wbr",
    )
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_hostile_becomes_markup(attack: str) -> None:
    found = [event.document for event in decode_bytes(hostile_log(attack), Options(year=2026))]
    assert found
    for documents in (found, [hostile(attack)], hostile_documents()):
        page = html.standalone(documents, "https://kb.example/").decode()
        assert tags(page) <= OURS
        inside = " ".join(re.findall(r"<[^>]*>", page))
        inside = re.sub(r"\"[^\"]*\"|'[^']*'", "", inside)
        assert not re.search(r"\bon[a-z]+\s*=|javascript:|srcdoc", inside, re.IGNORECASE)
        assert not re.search(r"href=[\"'](?!https?:|#|[a-z0-9-]+\.html|data:image/svg)", page)
        assert "\u202e" not in page
        assert "\u2028" not in page


@NEEDS_BROWSER
def test_nothing_hostile_runs_in_a_real_browser(tmp_path: Path) -> None:
    """Without the policy, so that it is the escaping that holds."""
    logs = b"".join(hostile_log(attack) for attack in ATTACKS)
    documents = [event.document for event in decode_bytes(logs, Options(year=2026))] + hostile_documents()
    page = html.standalone(documents, "https://kb.example/").decode()
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert "Content-Security-Policy" not in page
    # Every block open, so that its content is laid out; the last element says that the page was read to its end.
    page = page.replace("<details", "<details open").replace("</body>", "<i id=end></i></body>")
    file = tmp_path / "event.html"
    file.write_text(page, encoding="utf-8")
    shown = dumped(file.as_uri(), tmp_path)
    assert '<i id="end">' in shown
    assert "data-owned" not in shown.split(">", 2)[1] + shown.split(">", 3)[2]
    control = tmp_path / "control.html"
    control.write_text(f"<!DOCTYPE html><html><body>{ATTACKS[1]}</body></html>", encoding="utf-8")
    assert '<html data-owned="1">' in dumped(control.as_uri(), tmp_path)


@NEEDS_BROWSER
def test_the_policy_holds_where_escaping_would_not(tmp_path: Path) -> None:
    """Attacks put raw into a page of ours: the browser runs none of them."""
    page = html.standalone([DOCUMENT], None).decode().replace("</main>", "".join(ATTACKS) + "</main>")
    file = tmp_path / "raw.html"
    file.write_text(page, encoding="utf-8")
    assert "data-owned" not in dumped(file.as_uri(), tmp_path).partition("<body")[0]


@NEEDS_BROWSER
def test_the_static_page_shows_documents_and_runs_nothing_of_them(tmp_path: Path) -> None:
    file = tmp_path / "event.html"
    page = site.pages()["event.html"].decode()
    file.write_text(page, encoding="utf-8")
    shown = dumped(f"{file.as_uri()}#doc={quote(json.dumps(DOCUMENT))}", tmp_path)
    assert "<h2>page allocation failure: order 2 in alloc_rx (somenic), GFP_ATOMIC</h2>" in shown
    assert "below its limit" in shown
    assert 'href="zone-reclaim-mode.html#cannot-act"' in shown
    assert 'aria-label="free 20.2 MB, min 55.1 MB' in shown
    loose = tmp_path / "loose.html"
    loose.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page), encoding="utf-8")
    lines = "\n".join(json.dumps(document) for document in hostile_documents())
    pasted = loose.read_text(encoding="utf-8").replace("</textarea>", f"{escape(lines)}</textarea>", 1)
    loose.write_text(pasted, encoding="utf-8")
    shown = dumped(loose.as_uri(), tmp_path)
    assert shown.count('<article class="event">') == 20
    assert "data-owned" not in shown.partition("<body")[0]
    assert "javascript:x" not in shown.partition('id="event"')[2].replace("&lt;", "")


def test_what_the_server_makes_of_a_document_is_what_it_says() -> None:
    answer = pages.made()["event.html"](
        pages.Request("POST", {"log": json.dumps({"hits": {"hits": [{"_source": DOCUMENT}]}}, indent=1)}, b"")
    )
    assert "Normal has 4,500 usable pages" in answer.page.decode()


def test_blocks_kept_for_others_are_drawn_as_such() -> None:
    assert charts.free_lists(ZONE, 2, 4, 3).count('class="fig-free"') == 2
    assert "Largest usable block: 32 kB; asked for 16 kB" in charts.free_lists(ZONE, 2, 4, 3)


def test_a_page_says_what_does_not_help_and_how_to_find_out_more() -> None:
    log = "SLUB: Unable to allocate memory on node -1 (gfp=0x20)\n  cache: a, object size: 8, buffer size: 8"
    documents = [e.document for e in decode_bytes(f"{log}\n".encode(), Options())]
    text = html.standalone(documents, None).decode()
    assert "Do not lower slub_max_order" in text
    assert "dmesg | grep -B 80" in text


def test_names_in_the_timeline_are_cut_between_words() -> None:
    name = "page allocation failure: order 5 in proc_sys_call_handler (proc), GFP_KERNEL|__GFP_COMP"
    drawn = charts.timeline([0.0, 9.0], [0, 1], [name, "short"], ("a", "b"))
    assert ">page allocation failure: order 5 in proc_sys_call_handler … (1)<" in drawn
    assert ">short (1)<" in drawn


def test_what_a_vmalloc_failure_had_obtained_is_not_what_it_asked_for() -> None:
    log = "a: vmalloc error: size 0, page order 9, failed to allocate pages, mode:0xcc2(GFP_KERNEL|__GFP_HIGHMEM)"
    documents = [e.document for e in decode_bytes(f"[  29.500000] {log}\n".encode(), Options(kernel="6.3.9"))]
    text = html.standalone(documents, None).decode()
    assert "of which 0 bytes had been obtained, in pages of order 9" in text
    assert "<dd>29.5 s after boot</dd>" in text


def test_groups_with_one_title_are_told_apart_by_task() -> None:
    other = json.loads(json.dumps(DOCUMENT))
    other["@timestamp"] = "2026-03-01T12:00:00.000Z"
    other["process"] = {"name": "second<b>"}
    other["allocfail"]["fingerprint"]["id"] = "af1:0000000000000002"
    shown = html.events([DOCUMENT, other])
    assert "2026-03-01T12:00:00.000Z; task second&lt;b&gt;</span>" in shown
    assert ">2. page allocation failure: order 2 in alloc_rx" in shown
    assert "; task" not in html.events([DOCUMENT])
