"""The kit and the matcher of regular expressions against Python, on real engines."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import allocfail.decoder
from allocfail.painless import scripts
from allocfail.painless.regex import UnsupportedPatternError, compile_pattern
from allocfail.painless.values import as_param, is_pattern
from compiled import Compiled, checked, compiled, imported, processor, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine

PRIMITIVES = Path(__file__).parent / "compiler" / "primitives.py"
SAMPLE = Path(__file__).parents[1] / "samples" / "svn3-centos6.log"
SHARED = Path(__file__).parents[2] / "shared"

PLACES = [-7, -2, -1, 0, 1, 2, 3, 9]
NATURAL = [0, 1, 5, 255, 4096, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1]
BIG = [*NATURAL, -1, -5, -4096, -(2**31) - 1, -(2**63) + 1]
#: What a parameter is tried with, by its name. Where positions count, texts are within the basic plane.
VALUES: dict[str, list[Any]] = {
    "at": [0, 1, 2, 5],
    "big": BIG,
    "by": [1, 3, -3, 4096, -4096, 2**31, -(2**40)],
    "chars": ["", " ", "ab", "\x00\t ", "é"],
    "digits": ["0", "7", "-12", "0012", "+5", "2147483648", str(2**63 - 1), str(-(2**63))],
    "full": ["a", "ab", "é日"],
    "halves": ["", "a", "\ud800", "\udc00a", "\ud83d\ude00", "a\udbff\ud83d\ude00\udfff", "é\ud800日"],
    "hexes": ["0", "ff", "FF", "0x10", "0Xab", "7fffffffffffffff"],
    "high": PLACES,
    "json": [
        *(
            "",
            " ",
            "null",
            "true",
            "false",
            "tru",
            "nul",
            "0",
            "-0",
            "01",
            "1.",
            ".5",
            "+1",
            "--1",
            "1e5",
            "1E+5",
            "1e",
        ),
        *("2147483648", "9007199254740993", "999999999999999999", "123456789012345678901234567890", "1.50", "-1.5e-7"),
        *(
            "NaN",
            "Infinity",
            "-Infinity",
            "[NaN]",
            '""',
            '"a',
            '"\\n\\t\\/\\\\\\""',
            '"\\u00e9\\ud83d\\ude00"',
            '"\\ud800"',
        ),
        *('"\\x"', '"\\u12"', '"a\nb\x00"', '"é😀"', "[]", "[ ]", "[1,]", "[,]", "[1 2]", "[1,2", "[null,true,false]"),
        *(
            "{}",
            "{ }",
            '{"a":1}',
            '{"a":1,"a":2}',
            '{"a":1,}',
            "{a:1}",
            '{"a" : {"b":[{"c":1,"é":"x"}]} , "z":{"a":1}}',
        ),
        *('{"a":1}x', '{"a":1} \n', '{"z":tru}', '{"a"}', '{"a":}', "[" * 200 + "]" * 200, "[" * 201 + "]" * 201, "]"),
        *("1 1", "\ufeff1", "1_0", "0x1", '{"\\u0061":3}', '"\x7f"', "{1:2}", "'a'", "\u00a01", "1\x0b"),
    ],
    "lone": ["", "a", "\ud800", "\udc00a", "é\ud800日", "\U0001f600\ud800"],
    "local": [0, 1, -1, 951782400, 1700000000, 1711849800, 1729992600, 2**31, 4102444800, 253402300799 - 86400],
    "low": PLACES,
    "mark": [" ", ",", "a", "ab", "aa", "é", "😀"],
    "most": [0, 1, 2, 9],
    "natural": NATURAL,
    "numbers": [[], [0], [5, -5, 5], [2**31, 2**62, -(2**63), 1], [3, 1, 2, 2]],
    "octets": [
        *(
            [],
            [97],
            [195, 169],
            [240, 159, 152, 128],
            [195],
            [195, 97],
            [128],
            [255, 97],
            [224, 128, 128],
            [237, 160, 128],
        ),
        *([240, 159, 152], [240, 128, 128, 128], [244, 144, 128, 128], [245, 128], [192, 128], [226, 130], [256], [-1]),
        *(["a"], [None], [0], [97, 10, 13]),
    ],
    "other": BIG,
    "text": ["", "a", "b", "abcab", "aaaa", "bab é", "Z9_z", "日本 ab"],
    "wide": ["", "a", "ab,ab", "  a b  ", "aaa", "\x00\ta ", "é,😀,é", "😀😀", "12", "1²", "٣", "\uffee"],
    "word": ["", "a", "ab", "é", "bab"],
    "zone": ["UTC", "+02:00", "-05:30", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"],
}


@pytest.fixture(scope="module")
def primitives(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    root = tmp_path_factory.mktemp("kit")
    return compiled(checked(root, {"primitives": PRIMITIVES.read_text(encoding="utf-8")}), "primitives")


def tried(function: Any) -> Iterator[tuple[list[Any], Any]]:
    """Yield arguments, and what a function gives for them in Python; those that it does not take are left out."""
    for arguments in product(*(VALUES[name] for name in inspect.signature(function).parameters)):
        try:
            yield list(arguments), as_param(function(*arguments))
        except (IndexError, OverflowError):
            continue


def test_primitives_give_what_python_gives(engine: Engine, primitives: Compiled) -> None:
    module = imported("primitives")
    cases = {name: list(tried(getattr(module, name))) for name in primitives.calls if name != "shown"}
    given = {name: [arguments for arguments, _ in pairs] for name, pairs in cases.items()}
    document = simulated(engine, [processor(primitives, "out", given)])
    assert "out" in document, document
    wrong = [
        (name, arguments, expected, got)
        for name, pairs in cases.items()
        for (arguments, expected), got in zip(pairs, document["out"][name], strict=True)
        if got != expected
    ]
    assert wrong == []


# -- the matcher -------------------------------------------------------------------------------------------------------

MATCHER = """
List out = new ArrayList();
for (List one : (List) params.given) {
  int[] marks = rx_find((List) one.get(0), (String) one.get(1), (int) one.get(2));
  List spans = null;
  if (marks != null) {
    spans = new ArrayList();
    for (int mark : marks) {
      spans.add(mark);
    }
  }
  out.add(spans);
}
ctx.put('out', out);
"""


def matches(engine: Engine, asked: list[tuple[Any, str, int]]) -> list[Any]:
    """Return the positions of groups that the matcher finds, for programs, texts and where to begin."""
    names = [name for name in scripts._kit() if name.startswith("rx_")]
    source = "\n".join([*(scripts._kit()[name] for name in names), MATCHER])
    document = simulated(engine, [{"script": {"source": source, "params": {"given": asked}}}])
    found: list[Any] = document["out"]
    return found


def spans(pattern: re.Pattern[str], mode: str, text: str, at: int) -> list[int] | None:
    """Return the same in Python, positions as Java counts them."""
    found = getattr(pattern, mode)(text, at)
    if found is None:
        return None
    places = [place for group in range(pattern.groups + 1) for place in found.span(group)]
    return [place if place < 0 else len(text[:place].encode("utf-16-le")) // 2 for place in places]


ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        ".",
        "[ab]",
        "[^a]",
        "[a-c0-9]",
        "é",
        "[é日]",
        "[^é]",
        "日",
        "[^é\ud800-\udfff\U00010000-\U0010ffff]",
        "[b\U00010000-\U0010ffff]",
        r"\n",
        r"\.",
    ]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{2,}"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    whole = st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join).map("(?:{})".format),
        st.tuples(inner, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.tuples(st.sampled_from(["(?=", "(?!"]), inner).map(lambda pair: f"{pair[0]}{pair[1]})"),
        st.tuples(st.sampled_from(["(?<=", "(?<!"]), st.sampled_from(["a", "[ab]b"])).map(lambda p: f"{p[0]}{p[1]})"),
        inner.map("^{}".format),
        inner.map("{}$".format),
        inner.map(r"{}\Z".format),
        inner.map(r"\b{}".format),
    )
    return whole.map(str)


PATTERNS = st.recursive(st.tuples(ATOMS, REPEATS).map("".join), _grown, max_leaves=6)
TEXTS = st.text(alphabet="aab.c5é😀\n ", max_size=9)
MODES = st.sampled_from(["match", "search", "fullmatch"])


def program(pattern: str, mode: str) -> tuple[re.Pattern[str], list[Any]] | None:
    """Return a pattern and its program; None for one that is not taken."""
    try:
        made = re.compile(pattern, re.ASCII)
        return made, compile_pattern(made, mode)
    except (re.error, UnsupportedPatternError):
        return None


@settings(max_examples=5, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(st.tuples(PATTERNS, MODES, st.lists(TEXTS, min_size=4, max_size=4)), min_size=150, max_size=150))
def test_matcher_finds_what_python_finds(engine: Engine, drawn: list[tuple[str, str, list[str]]]) -> None:
    taken = [(made, mode, texts) for pattern, mode, texts in drawn if (made := program(pattern, mode))]
    assert len(taken) > len(drawn) / 2
    asked = [(made, mode, text) for made, mode, texts in taken for text in texts]
    found = matches(engine, [(made[1], text, 0) for made, _, text in asked])
    wrong = [
        (made[0].pattern, mode, text, expected, got)
        for (made, mode, text), got in zip(asked, found, strict=True)
        if (expected := spans(made[0], mode, text, 0)) != got
    ]
    assert wrong == []


def _patterns_in(value: Any) -> Iterator[Any]:
    if is_pattern(value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _patterns_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _patterns_in(inner)


def patterns_of_the_decoder() -> dict[tuple[str, str], re.Pattern[str]]:
    """Return all patterns of its modules and of their tables, by text and mode."""
    found = {}
    for module in pkgutil.iter_modules(allocfail.decoder.__path__, "allocfail.decoder."):
        if module.name == "allocfail.decoder.kit":
            continue
        for value in vars(importlib.import_module(module.name)).values():
            is_table = hasattr(value, "cache_info") and not inspect.signature(value).parameters
            for pattern in _patterns_in(value() if is_table else value):
                bound = pattern if isinstance(pattern, re.Pattern) else pattern.__self__
                mode = "search" if isinstance(pattern, re.Pattern) else pattern.__name__
                found[bound.pattern, mode if mode in {"match", "fullmatch"} else "search"] = bound
    return found


def lines_of_logs() -> list[str]:
    """Return lines unlike each other: of the sample, and of every log of the corpus where it is there."""
    logs = [SAMPLE, *sorted(SHARED.glob("corpus/**/*.txt")), *sorted(SHARED.glob("corpus/**/*.log"))]
    kinds: dict[str, str] = {}
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            kinds.setdefault(re.sub("[0-9a-fA-F]+", "0", line)[:60], line[:300])
    lines = list(kinds.values())
    return [*lines[:: max(1, len(lines) // 90)], "[pid:1,cpu0,in😀irq]", "I/a😀b( 1): c"]


def test_patterns_of_the_decoder_find_what_python_finds(engine: Engine) -> None:
    patterns = patterns_of_the_decoder()
    lines = lines_of_logs()
    assert len(patterns) > 150
    wrong = []
    matched = 0
    everything = list(patterns.items())
    for start in range(0, len(everything), 90):
        some = everything[start : start + 90]
        asked = [(compile_pattern(made, mode), line, 0) for (_, mode), made in some for line in lines]
        expected = [spans(made, mode, line, 0) for (_, mode), made in some for line in lines]
        found = matches(engine, asked)
        wrong += [(ask[0][-1], ask[1], e, f) for ask, e, f in zip(asked, expected, found, strict=True) if e != f]
        matched += sum(one is not None for one in expected)
    assert wrong == []
    assert matched > len(lines)
