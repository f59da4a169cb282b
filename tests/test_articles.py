"""What every article has to hold to: the answer first, links that lead somewhere, claims that name their source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from allocfail.articles import articles as kb
from allocfail.articles.render import FIGURES, render
from allocfail.content import content_path

ARTICLES = kb.load()
#: The sections every article begins with, in every language.
FIRST = {
    "en": ["What happened", "How bad it is", "Do this", "Do not do that", "See whether it helped"],
    "zh": ["发生了什么", "有多严重", "这样做", "不要这样做", "怎样看出有没有用"],
}
#: Sections that speak of nothing a kernel's source could show: steps, or where all of it comes from.
PLAIN = {"sources", "what-to-look-at", "not-known"}
CITED = re.compile(r"\[([0-9]+\.[0-9]+[0-9A-Za-z.-]*)\]")
PATHS = re.compile(
    r"\b(?:arch|Documentation|fs|include|kernel|lib|mm|net)/[A-Za-z0-9_./-]+\.(?:c|h|txt|rst)\b|arch/x86/Kconfig"
)
UNVERIFIED = re.compile(r"not verified|unverified|not read|未经验证", re.IGNORECASE)


def names() -> list[str]:
    return [item.id for item in ARTICLES]


@pytest.mark.parametrize("item", ARTICLES, ids=names())
def test_the_answer_comes_first(item: kb.Article) -> None:
    second = [heading for heading in item.headings if heading.level == 2]
    assert [heading.text for heading in second[:5]] == FIRST[item.lang]
    assert [heading.anchor for heading in second[1:5]] == ["how-bad", "do-this", "do-not", "did-it-help"]
    for part in kb.sections(item.body)[1:6]:
        assert len(part.text) > 40, part.title


@pytest.mark.parametrize("item", ARTICLES, ids=names())
def test_a_section_that_an_event_links_to_begins_with_what_to_do(item: kb.Article) -> None:
    """The reader of such a link may never see the top of the page."""
    answers = {"do-this", "what-it-is", "did-it-help", *(heading.anchor for heading in item.headings[:5])}
    depth = {"arithmetic"}
    for rule in item.applies:
        text = kb.section(item, rule.anchor)
        assert rule.anchor in answers | depth or re.search(r"\*\*Do this", text[:900]), rule.anchor


@pytest.mark.parametrize("item", ARTICLES, ids=names())
def test_sections_in_depth_name_release_and_file(item: kb.Article) -> None:
    first = len(FIRST[item.lang])
    chapters: list[tuple[str, str]] = []
    for part in kb.sections(item.body):
        if part.level == 2:
            chapters.append((part.anchor, part.text))
        elif part.level > 2:
            chapters[-1] = (chapters[-1][0], f"{chapters[-1][1]}\n{part.text}")
    for anchor, text in chapters[first:]:
        if anchor in PLAIN:
            continue
        assert (CITED.search(text) and PATHS.search(text)) or UNVERIFIED.search(text) or _only_links(text), anchor


def _only_links(text: str) -> bool:
    """Whether a section sends the reader on rather than claiming anything of its own."""
    return text.count("](") >= 2 and not re.search(r"\b[2-7]\.[0-9]+\b", text)


TREES = content_path("pyproject.toml").parent.parent / "shared/kernel/sources.json"


@pytest.mark.skipif(not TREES.is_file(), reason="the list of kernel trees is not beside this checkout")
def test_every_release_that_is_cited_is_a_tree_that_was_read() -> None:
    known = set(json.loads(TREES.read_text(encoding="utf-8")))
    known |= {tree.split("~")[0] for tree in known}
    short = {re.match(r"[0-9.]+", tree)[0].rstrip(".") for tree in known}  # type: ignore[index]
    # Read for the articles, or named so by the pages that the facts come from.
    others = {"4.3", "4.6", "7.3-rc7", "6.17-rc4", "5.14-rc5", "6.4.0", "3.2", "4.9"}
    unknown = set()
    for item in ARTICLES:
        for release in CITED.findall(item.body):
            if release not in known | short | others:
                unknown.add((item.id, release))
    assert not unknown


@pytest.mark.parametrize("item", ARTICLES, ids=names())
def test_links_pictures_and_rules_lead_somewhere(item: kb.Article) -> None:
    anchors = {other.id: {heading.anchor for heading in other.headings if heading.anchor} for other in ARTICLES}
    for picture, target in re.findall(r"(!?)\[[^\]]*\]\(([^)]*)\)", item.body):
        if picture:
            assert (content_path(FIGURES) / Path(target).name).is_file(), target
            continue
        page, _, anchor = target.partition("#")
        identifier = page.removesuffix(".html") or item.id
        assert page == "" or page.endswith(".html"), target
        assert identifier in anchors, target
        assert anchor == "" or anchor in anchors[identifier], target
    for rule in item.applies:
        assert rule.anchor in anchors[item.id]
    shown = render(item.body)
    assert shown.count('<figure class="fig"><svg ') == item.body.count("](../figures/")


def test_a_translation_keeps_the_anchors_of_what_it_translates() -> None:
    translations = [item for item in ARTICLES if item.translates]
    assert {item.lang for item in translations} == {"zh"}
    for item in translations:
        original = kb.article(item.translates)
        assert {heading.anchor for heading in item.headings} <= {heading.anchor for heading in original.headings}
        assert not item.applies


def test_every_picture_is_used_and_has_no_style_that_pages_lack() -> None:
    style = content_path("kb/site/style.css").read_text(encoding="utf-8")
    used = {name for item in ARTICLES for name in re.findall(r"\.\./figures/([a-z0-9-]+)\.svg", item.body)}
    assert used == {path.stem for path in content_path(FIGURES).glob("*.svg")}
    for path in content_path(FIGURES).glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        for group in re.findall(r'class="([^"]*)"', text):
            assert all(f".{name} {{" in style for name in group.split()), group
        assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_what_was_wrong_stays_right() -> None:
    """Statements that this project once made, or that the web makes, and that the sources contradict."""
    text = {item.id: re.sub(r"\s+", " ", item.body) for item in ARTICLES}
    everything = " ".join(text.values())
    assert "vm.min_free_kbytes=131072" not in everything
    assert "The sender repeats it" not in everything
    assert "UDP does not" in text["atomic-allocation-failure"]
    assert "cannot help a SLUB failure that printed" in text["slab-allocation-failure"]
    assert "6.1.y stable" in text["atomic-allocation-failure"]
    assert "runs that succeed are not counted" in text["zone-reclaim-mode"]
    assert "240 MB" in text["vmalloc-failure"]
    assert "not verified" in text["zone-reclaim-mode"]
    assert re.search(r"shared memory .*only if nobody else holds it", text["oom-kill"])
