"""The static pages: safe whatever an article holds, written and served without touching anything else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import TYPE_CHECKING

import pytest

from allocfail.articles import articles as kb
from allocfail.articles import render, search, site
from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = """\
## <img src=x onerror=alert(1)> {#here onclick=alert(2) style=color:red}

<script>alert(3)</script> <svg/onload=alert(4)> <iframe src="//evil"></iframe>

<div onclick="alert(5)">block</div>

[a](javascript:alert(6)) [b](JaVaScRiPt:alert(7)) [c](data:text/html,x) [d](vbscript:x) [e](java&#10;script:alert(8))
[f](<javascript:alert(9)>) <javascript:alert(10)> [g]( javascript:alert(11))
![i](https://tracker.example/x.png) ![j](data:image/svg+xml,x)

text {: onmouseover=alert(12) id=q class=evil}

| a {: onclick=alert(13)} |
| --- |
| <b onclick=alert(14)>x</b> |

([6.12] <script>alert(15)</script> mm/x.c)

```html
<script>alert(16)</script>
```
"""


def tags(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"<\s*([A-Za-z][A-Za-z0-9]*)", text)}


def test_hostile_markdown_comes_out_harmless() -> None:
    shown = render.render(HOSTILE)
    assert not tags(shown) & {"script", "img", "svg", "iframe", "style", "link", "object", "form", "b"}
    inside = re.sub(r'data-label="[^"]*"', "", " ".join(re.findall(r"<[^>]*>", shown)))
    assert not re.search(r"\bon[a-z]+\s*=|style\s*=|javascript|data:|vbscript", inside, re.IGNORECASE)
    assert 'id="q"' not in shown
    assert "evil" not in " ".join(re.findall(r'class="[^"]*"', shown))
    assert re.findall(r'href="([^"]*)"', shown) == []
    # What was HTML is still there to read.
    assert "&lt;script&gt;alert(3)" in shown
    assert "&lt;script&gt;alert(16)" in shown


def test_hostile_titles_are_escaped() -> None:
    item = kb.Article(
        id="x",
        title="</title><script>alert(1)</script>",
        summary='"><img src=x>',
        priority=1,
        keywords=("</script><script>alert(2)",),
        applies=(),
        body="## A {#a}\n",
        headings=(kb.Heading(2, "</nav><script>", "a"),),
    )
    for content in site.pages([item]).values():
        text = content.decode()
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "</nav><script>" not in text


def test_anchors_and_citations_survive() -> None:
    shown = render.render("## Why {#cannot-act}\n\nTrue ([2.6.32] mm/vmscan.c).\n\n| a |\n| --- |\n| b |\n")
    assert '<h2 id="cannot-act">Why</h2>' in shown
    assert '<span class="src">([2.6.32] mm/vmscan.c)</span>' in shown
    assert shown.count("<table>") == shown.count('<div class="table"') == 1


#: Pages of the static site that have scripts, and how many.
SCRIPTS = {"search.html": 2, "event.html": 1}


def test_every_page_is_whole_and_allows_only_itself() -> None:
    pages = site.pages()
    tools = {"index.html", "search.html", "event.html", "gfp.html", "zone-reclaim.html"}
    assert set(pages) == tools | {f"{item.id}.html" for item in kb.load()}
    for name, content in pages.items():
        text = content.decode()
        policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[0])
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        assert len(styles) == 1
        assert len(scripts) == SCRIPTS.get(name, 0)
        assert bool(scripts) == ("script-src 'none'" not in policy)
        for block in scripts + styles:
            assert f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'" in policy
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), name
        assert not re.search(r"@import|url\(", styles[0])
        assert re.search(r'<meta name="viewport" content="width=device-width', text)


def test_a_translation_says_its_language_and_links_to_the_other() -> None:
    pages = site.pages()
    chinese, english = pages["zone-reclaim-mode-zh.html"].decode(), pages["zone-reclaim-mode.html"].decode()
    assert '<html lang="zh">' in chinese
    assert '<html lang="en">' in english
    assert '<a class="lang" href="zone-reclaim-mode.html" hreflang="en"' in chinese
    assert '<a class="lang" href="zone-reclaim-mode-zh.html" hreflang="zh"' in english


def test_lists_hold_code_and_tables() -> None:
    shown = render.render(
        "1. One:\n\n   ```\n   sysctl -w a=1\n   ```\n\n   | a | b |\n   | --- | --- |\n   | c | `d` |\n"
    )
    assert "<li>" in shown.split("<pre>", maxsplit=1)[0]
    assert '<td data-label="b"><code>d</code></td>' in shown
    assert "```" not in shown


def test_only_pictures_of_ours_are_shown() -> None:
    shown = render.render("![our zones](../figures/watermarks.svg) ![x](https://tracker.example/x.png) ![y](../a.svg)")
    assert '<figure class="fig"><svg aria-label="our zones" ' in shown
    assert "<style" not in shown
    assert "tracker" not in shown
    with pytest.raises(AllocfailError, match="no picture nowhere"):
        render.render("![a](../figures/nowhere.svg)")
    assert "<figure" not in render.render("\ue0000\ue000 and \ue0001\ue000")


def test_every_section_of_every_article_can_be_linked() -> None:
    pages = site.pages()
    for item in kb.load():
        text = pages[f"{item.id}.html"].decode()
        for heading in item.headings:
            if heading.level == 2:
                assert text.count(f'<h2 id="{heading.anchor}">') == 1
                assert f'class="here" href="#{heading.anchor}"' in text


def test_the_search_page_holds_the_committed_index() -> None:
    text = site.pages()["search.html"].decode()
    (found,) = re.findall(r'<script type="application/json" id="search-index">(.*?)</script>', text)
    assert json.loads(found) == json.loads(search.generate()[search.INDEX])


def test_build_writes_replaces_and_removes_only_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    written, gone = site.build(folder)
    assert gone == []
    (folder / "mine.html").write_text("mine")
    (folder / "old.html").write_text("old")
    manifest = folder / site.MANIFEST
    outside = tmp_path / "a" / "outside.html"
    outside.write_text("outside")
    names = [*written, "old.html", "../outside.html", str(outside)]
    manifest.write_text(json.dumps({"files": names}))
    (folder / "index.html").write_text("broken")
    assert site.build(folder) == (written, ["old.html"])
    assert outside.read_text() == "outside"
    assert (folder / "mine.html").read_text() == "mine"
    assert (folder / "index.html").read_bytes() == site.pages()["index.html"]
    assert {path.name for path in folder.iterdir()} == {*written, "mine.html", site.MANIFEST}
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o644


def test_build_refuses_foreign_files_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(InputError, match=r"index\.html"):
        site.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(InputError, match="not a folder"):
        site.build(tmp_path / "index.html")
    (tmp_path / "index.html").unlink()
    (tmp_path / site.MANIFEST).write_text("[]")
    with pytest.raises(InputError, match="not a list"):
        site.build(tmp_path)


def test_build_does_not_follow_a_link_that_took_a_pages_place(tmp_path: Path) -> None:
    folder, target = tmp_path / "kb", tmp_path / "target"
    site.build(folder)
    target.write_text("precious")
    (folder / "index.html").unlink()
    (folder / "index.html").symlink_to(target)
    site.build(folder)
    assert target.read_text() == "precious"
    assert not (folder / "index.html").is_symlink()
