"""Which sections of the articles answer a question.

One index serves the command line, the pages and, as documents, a cluster: lunr's, made by :func:`index` and committed
as :data:`INDEX`. The pages load the same file into lunr.js (``kb/site/search.js`` expands a question as
:func:`Engine.search` does, and a test compares the two).

A question is a bag of words: a section need not hold all of them, and a word may be misspelt or half written. Names
with underscores count whole and in their parts; runs of Chinese count in pairs of characters.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from allocfail.articles import articles as kb
from allocfail.content import content_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lunr.index import Index

__all__ = ["INDEX", "Engine", "Hit", "Part", "engine", "generate", "index", "parts", "text_of", "words"]

#: The generated index, relative to the content root.
INDEX = "kb/site/search.json"

#: What a word is worth by where it stands.
FIELDS = {"heading": 8, "title": 4, "keywords": 4, "summary": 3, "body": 1}
#: What a match is worth: the word itself, one that it begins, one that is spelt alike.
EXACT, BEGINS, ALIKE = 10, 3, 2
#: What a hit in another language than the question's is worth.
OTHER_LANGUAGE = 0.5
#: A longer question says no more: of its words, the first that the articles know, and a few that they do not.
MOST_KNOWN, MOST_UNKNOWN = 40, 6
#: What is looked for in place of a mask that no article spells out.
MASK_WORD = "gfp_mask"
#: Characters of a snippet, at most and, where the text goes on, at least.
SNIPPET, SNIPPET_LEAST = 240, 90
#: Sections of one article in an answer: other articles have something to say too.
MOST_SECTIONS = 3
#: Words that say nothing about what is asked.
STOP = frozenset(  # a list of 60 strings reads worse
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "cannot",
        "do",
        "does",
        "for",
        "from",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "so",
        "than",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "this",
        "to",
        "was",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "you",
        "your",
    ]
)

_WORD = re.compile(r"[a-z0-9]+(?:_+[a-z0-9]+)*|[\u3400-\u9fff]+")
_MASK = re.compile(r"0x[0-9a-f]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_CITATION = re.compile(r" ?\(\[[0-9][0-9A-Za-z.-]*\][^()]{0,400}\)", re.ASCII)
_SENTENCE = re.compile(r"(?<=[.;?!])\s+|(?<=[\u3002\uff1b\uff01\uff1f])|\n+")


@dataclass(frozen=True, slots=True)
class Part:
    """What a hit leads to: a section of an article, or the article's top."""

    article: str
    """The article's id."""
    anchor: str
    """Empty for the article's top: title, summary and first section."""
    title: str
    """The article's title."""
    heading: str
    """The section's; the article's summary at its top."""
    lang: str
    text: str
    """Plain text."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A section that :func:`Engine.search` found."""

    part: Part
    score: int
    """Larger is better; comparable within one answer only."""
    snippet: tuple[tuple[str, bool], ...]
    """The sentence that answers best, in pieces; true for those that match a word of the question."""


def words(text: str) -> list[str]:
    """Return the words that searching compares, lower case, in order.

    ``vm.zone_reclaim_mode=1`` gives ``vm``, ``zone_reclaim_mode``, ``zone``, ``reclaim``, ``mode``, ``1``.
    """
    found: list[str] = []
    for match in _WORD.finditer(text.lower()):
        word = match[0]
        if _HAN.match(word):
            found += [word[at : at + 2] for at in range(len(word) - 1)] or [word]
            continue
        found.append(word)
        if "_" in word:
            found += [piece for piece in word.split("_") if piece]
    return found


def text_of(markdown: str) -> str:
    """Return an article's Markdown as plain text, a line for each paragraph, item, row and line of code.

    Without links, pictures' addresses, marks and citations.
    """
    from allocfail.articles.render import plain_lines  # noqa: PLC0415 - only the generator reads Markdown

    lines = (_CITATION.sub("", " ".join(line.split())) for line in plain_lines(markdown))
    return "\n".join(line for line in lines if line)


def parts(articles: Sequence[kb.Article]) -> list[Part]:
    """Return everything that a hit may lead to, in the order of the articles."""
    found: list[Part] = []
    for item in articles:
        sections = kb.sections(item.body)
        first = next((number for number, part in enumerate(sections) if part.level == 2), 0)
        lead = "\n".join([item.summary, *(part.text for part in sections[: first + 1])])
        found.append(Part(item.id, "", item.title, item.summary, item.lang, text_of(lead)))
        for part in sections[first + 1 :]:
            if part.anchor:
                found.append(Part(item.id, part.anchor, item.title, part.title, item.lang, text_of(part.text)))
            else:
                last = found[-1]
                text = f"{last.text}\n{part.title}\n{text_of(part.text)}"
                found[-1] = Part(last.article, last.anchor, last.title, last.heading, last.lang, text)
    return found


def index(articles: Sequence[kb.Article]) -> dict[str, Any]:
    """Return lunr's index of ``articles`` with the parts that it speaks of, as :data:`INDEX` holds it."""
    from lunr.builder import Builder  # noqa: PLC0415 - only the generator builds an index
    from lunr.stemmer import stemmer  # noqa: PLC0415 - as above

    keywords = {item.id: words(" ".join(item.keywords)) for item in articles}
    builder = Builder()
    builder.ref("id")
    builder.pipeline.add(stemmer)
    for name, weight in FIELDS.items():
        builder.field(name, boost=weight)
    found = parts(articles)
    for number, part in enumerate(found):
        top = not part.anchor
        fields = {
            "heading": [] if top else words(part.heading),
            "title": words(f"{part.title} {part.article}"),
            "keywords": keywords[part.article] if top else [],
            "summary": words(part.heading) if top else [],
            "body": words(part.text),
        }
        builder.add({"id": str(number), **{name: _told(value) for name, value in fields.items()}})
    return {
        "constants": {
            "exact": EXACT,
            "begins": BEGINS,
            "alike": ALIKE,
            "other_language": OTHER_LANGUAGE,
            "most_known": MOST_KNOWN,
            "most_unknown": MOST_UNKNOWN,
            "snippet": SNIPPET,
            "snippet_least": SNIPPET_LEAST,
            "most_sections": MOST_SECTIONS,
            "mask_word": MASK_WORD,
            "stop": sorted(STOP),
        },
        "parts": [
            {
                "article": part.article,
                "anchor": part.anchor,
                "title": part.title,
                "heading": part.heading,
                "lang": part.lang,
                "text": part.text,
            }
            for part in found
        ],
        "lunr": builder.build().serialize(),
    }


def _told(found: list[str]) -> list[str]:
    return [word for word in found if word not in STOP]


def generate() -> dict[str, str]:
    """Return the generated index by its path below the content root."""
    return {INDEX: json.dumps(index(kb.load()), ensure_ascii=False, separators=(",", ":")) + "\n"}


@cache
def engine() -> Engine:
    """Return the engine over the project's own articles."""
    return Engine(json.loads(content_path(INDEX).read_text(encoding="utf-8")))


class Engine:
    """Answers questions from an index that :func:`index` made."""

    def __init__(self, made: dict[str, Any]) -> None:
        """Take an index; it is read, not changed."""
        from lunr.index import Index  # noqa: PLC0415 - commands that do not search load none of it

        self.parts = [Part(**part) for part in made["parts"]]
        self._index: Index = Index.load(made["lunr"])
        self._vocabulary = sorted(self._index.inverted_index)

    def search(self, question: str | Iterable[str]) -> list[Hit]:
        """Return the sections that answer ``question``, best first; an empty list where no word of it is known."""
        text = question if isinstance(question, str) else " ".join(question)
        wanted = self._expanded(text)
        if not wanted:
            return []
        language = "zh" if _HAN.search(text) else "en"
        query = self._index.create_query()
        boosts: Counter[str] = Counter()
        for terms in wanted:
            for term, boost in terms.items():
                boosts[term] = max(boosts[term], boost)
        for term, boost in boosts.items():
            query.term(term, boost=boost, use_pipeline=False)
        hits = []
        for found in self._index.query(query):
            matched = set(found["match_data"].metadata)
            # lunr adds up what matches; a section that holds more of the question's words stands before one that
            # repeats a few.
            share = sum(bool(matched & terms.keys()) for terms in wanted) / len(wanted)
            number = int(found["ref"])
            weight = share * share * (1 if self.parts[number].lang == language else OTHER_LANGUAGE)
            hits.append((found["score"] * weight, number, matched))
        hits.sort(key=lambda hit: (-hit[0], hit[1]))
        answer: list[Hit] = []
        shown: Counter[str] = Counter()
        for score, number, matched in hits:
            part = self.parts[number]
            shown[part.article] += 1
            if score > 0 and shown[part.article] <= MOST_SECTIONS:
                answer.append(Hit(part, round(1000 * score / hits[0][0]), _snippet(part.text, matched)))
        return answer

    def _expanded(self, text: str) -> list[dict[str, int]]:
        """Return, for each word of a question, the index's terms that stand for it and what each is worth."""
        expanded = []
        unknown = 0
        for word in dict.fromkeys(_told(words(text))):
            terms = self._known(word) or (self._known(MASK_WORD) if _MASK.fullmatch(word) else {})
            if not terms and unknown < MOST_UNKNOWN and "_" not in word:
                unknown += 1
                terms = self._spelt_alike(word)
            if terms:
                expanded.append(terms)
                if len(expanded) == MOST_KNOWN:
                    break
        return expanded

    def _known(self, word: str) -> dict[str, int]:
        stem = _stem(word)
        terms = {}
        if len(word) > 2:
            at = bisect_left(self._vocabulary, word)
            while at < len(self._vocabulary) and self._vocabulary[at].startswith(word):
                terms[self._vocabulary[at]] = BEGINS
                at += 1
        if stem in self._index.inverted_index:
            terms[stem] = EXACT
        return terms

    def _spelt_alike(self, word: str) -> dict[str, int]:
        from lunr.token_set import TokenSet  # noqa: PLC0415 - as above

        stem = _stem(word)
        if not 4 <= len(stem) <= 24 or stem.isdigit():
            return {}
        distance = 1 if len(stem) < 8 else 2
        alike = self._index.token_set.intersect(TokenSet.from_fuzzy_string(stem, distance)).to_list()
        return dict.fromkeys(sorted(alike), ALIKE)


def _snippet(text: str, matched: set[str]) -> tuple[tuple[str, bool], ...]:
    """Return the sentence with most of the words that matched, and what follows it where it is short."""
    sentences = [part.strip().removeprefix("- ") for part in _SENTENCE.split(text) if part.strip()]
    counts = [len({_stem(word) for word in words(sentence)} & matched) for sentence in sentences]
    at = counts.index(max(counts)) if counts else 0
    best = ""
    for sentence in sentences[at:]:
        best = f"{best} {sentence}".strip()
        if len(best) >= SNIPPET_LEAST:
            break
    return tuple(_marked(_cut(best, matched), matched))


def _cut(sentence: str, matched: set[str]) -> str:
    """Return at most :data:`SNIPPET` characters of a sentence, around the first word that matches."""
    if len(sentence) <= SNIPPET:
        return sentence
    at = next((match.start() for match in _WORD.finditer(sentence.lower()) if _matches(match[0], matched)), 0)
    start = max(0, min(at - SNIPPET // 4, len(sentence) - SNIPPET))
    return ("…" if start else "") + sentence[start : start + SNIPPET] + ("…" if start + SNIPPET < len(sentence) else "")


def _matches(word: str, matched: set[str]) -> bool:
    return any(_stem(piece) in matched for piece in words(word))


def _marked(sentence: str, matched: set[str]) -> Iterable[tuple[str, bool]]:
    at = 0
    for match in _WORD.finditer(sentence.lower()):
        if not _matches(match[0], matched):
            continue
        if match.start() > at:
            yield sentence[at : match.start()], False
        yield sentence[match.start() : match.end()], True
        at = match.end()
    if at < len(sentence):
        yield sentence[at:], False


@lru_cache(maxsize=1 << 14)
def _stem(word: str) -> str:
    from lunr.stemmer import PorterStemmer  # noqa: PLC0415 - commands that do not search load none of it

    # One for each word: the library's keeps its state in itself, and the server has threads.
    stem: str = PorterStemmer().stem(word)
    return stem
