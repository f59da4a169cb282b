"""What ``make check`` says of files that are wrong: everything at once, a line each, and no traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from allocfail import content
from allocfail.articles import articles
from allocfail.build import __main__ as build
from allocfail.build import checks

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of what people write, where it is looked for."""
    for folder in ("kb", "pipelines", "saved_searches"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("generated"))
    monkeypatch.setattr(content, "content_root", lambda: tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1, (path, old)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_project_s_own_files_are_right() -> None:
    assert checks.problems() == []


FACTS, ARTICLES, PIPELINES = "kb/facts", "kb/articles", "pipelines"
FAULTS = [
    (f"{PIPELINES}/allocfail.yml", "      tag: allocfail-guard\n", "", "'tag' is a required property"),
    (
        f"{PIPELINES}/allocfail.yml",
        "      description: A document",
        "      describes: A document",
        "'description' is a req",
    ),
    (f"{PIPELINES}/on-failure.yml", "    tag: allocfail-failed-clean\n", "", "'tag' is a required property"),
    (f"{FACTS}/wording.yml", "memory_whole:", "memory_hole:", "'memory_whole' is a required property"),
    (f"{FACTS}/wording.yml", "sources: >-", "source: >-", "'sources' is a required property"),
    (f"{FACTS}/taints.yml", "  P: a propr", "  p: a propr", "does not match"),
    (f"{FACTS}/memory.yml", ": ram_pages", ": ram", "does not match"),
    (f"{FACTS}/times.yml", "Jan: 1,", "Jan: 13,", "greater than the maximum"),
    (f"{FACTS}/frames.yml", "  start_here_common,", "  start_here_common, start_here_common,", "non-unique"),
    (f"{FACTS}/needles.yml", "about: >-", "about: [", "no YAML"),
    (f"{ARTICLES}/oom-kill.md", "priority: ", "priority: high #", "'high' is not of type 'integer'"),
    (f"{ARTICLES}/oom-kill.md", "    anchor: ", "    anchor: no-such-", "no section has the anchor"),
    (f"{ARTICLES}/oom-kill.md", "summary: ", "sumary: ", "'summary' is a required property"),
    (f"{ARTICLES}/oom-kill.md", "---\n", "--\n", "no front matter"),
]


def rounds() -> list[list[tuple[str, str, str, str]]]:
    """Return the faults so that in each round every file has one at most."""
    found: list[list[tuple[str, str, str, str]]] = []
    for fault in FAULTS:
        free = next((one for one in found if fault[0] not in {file for file, *_ in one}), None)
        if free is None:
            found.append([fault])
        else:
            free.append(fault)
    return found


@pytest.mark.parametrize("faults", rounds())
def test_all_faults_are_told_at_once_a_line_each_and_nothing_is_written(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faults: list[tuple[str, str, str, str]],
) -> None:
    for file, old, new, _ in faults:
        edit(root / file, old, new)
    monkeypatch.setattr(sys, "argv", ["build"])
    assert build.main() == 1
    told = capsys.readouterr().err.splitlines()
    assert {line.partition(": ")[0] for line in told} == {file for file, *_ in faults}
    assert all(len(line) < 300 for line in told)
    for file, _, _, said in faults:
        assert any(line.startswith(f"{file}: ") and said in line for line in told), (file, told)
    assert not (root / "pipelines/generated").exists()


GFP = f"{FACTS}/gfp.yml"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # A new release whose order is forgotten: its masks would be spelled by another list.
        (
            "trees:\n",
            '  - {since: [7, 4], until: [7, 4], layout: "6.3", composites: "6.8", variants: "6.9"}\ntrees:\n',
            "table 7.4: a kernel of 4.6 or later prints names: it needs an order",
        ),
        # A new flag that its order does not have: it would come out as a number.
        (
            "    __GFP_ZEROTAGS, __GFP_SKIP_ZERO, __GFP_SKIP_KASAN, __GFP_NOLOCKDEP, __GFP_NO_OBJ_EXT",
            "    __GFP_SKIP_ZERO, __GFP_SKIP_KASAN, __GFP_NOLOCKDEP, __GFP_NO_OBJ_EXT",
            "table 6.19: order '6.17' forgets __GFP_ZEROTAGS, which would be printed as 0x800000",
        ),
        ('layout: "5.18", ', 'layout: "5.17", ', "table 5.18: there is no layout '5.17'"),
        ("since: [5, 14]", "since: [5, 15]", "table 5.15: does not follow the one that ends with 5.13"),
        ('order: "5.14", ', 'order: "5.15", ', "table 5.14: there is no order '5.15'"),
        (
            "NORETRY, NO_GROW, COMP, ZERO]",
            "NORETRY, NO_GROW, COMP, NEWEST]",
            "__GFP_NEWEST has no meaning in gfp_meanings.yml",
        ),
    ],
)
def test_what_belongs_together_in_the_flags(root: Path, old: str, new: str, said: str) -> None:
    edit(root / GFP, old, new)
    assert said in checks.gfp_problems(yaml.load((root / GFP).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))


def test_every_feature_of_a_rule_is_known_to_the_parser() -> None:
    schema = json.loads((ROOT / "kb/schemas/article.json").read_text(encoding="utf-8"))
    keys = set(schema["required"])
    assert keys == articles._KEYS


def test_the_benchmarks_begin() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "bench"), "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--engines" in done.stdout
