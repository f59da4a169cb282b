"""What the decoder makes of some 3,700 fixed logs is what it made of them when the lists were last written.

A change that is meant is written anew by ``make expectations``, and reviewed in the diff.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import golden
from golden.before import Before

if TYPE_CHECKING:
    from pathlib import Path

#: So many logs of a set are told field by field.
TOLD = 5


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in _leaves(inner, f"{path}.{key}" if path else key).items()
        }
    return {path: json.dumps(value, ensure_ascii=False)}


def _fields(before: list[dict[str, Any]], now: list[dict[str, Any]], groups: list[str]) -> list[str]:
    """Return a line a field that differs, of the documents in order; only fields of these groups."""
    if len(before) != len(now):
        return [f"    {len(before)} documents before, {len(now)} now"]
    lines = []
    for number, (old, new) in enumerate(zip(before, now, strict=True)):
        one, two = (
            {k: v for name, fields in golden.grouped(d).items() if name in groups for k, v in _leaves(fields).items()}
            for d in (old, new)
        )
        lines += [
            f"    #{number} {path}: {one.get(path, '-')[:300]} -> {two.get(path, '-')[:300]}"
            for path in sorted(one.keys() | two.keys())
            if one.get(path, "null") != two.get(path, "null")
        ]
    return lines


def _told(of: str, wanted: list[str], got: list[str], folder: Path) -> str:
    before = Before(folder, golden.FOLDER / f"{of}.txt")
    known = {line.split("\t")[0]: line.split("\t") for line in wanted}
    data = {given.name: given.data for given in golden.inputs(of)}
    differing = [line.split("\t") for line in got if known.get(line.split("\t")[0]) != line.split("\t")]
    lines = [f"{of}: {len(differing)} of {len(got)} logs differ; make expectations writes the list anew"]
    for cells in differing[:TOLD]:
        name = cells[0]
        if name not in known:
            lines.append(f"  {name}: not in the list")
            continue
        groups = [
            g for g, old, new in zip(["input", *golden.GROUPS], known[name][1:], cells[1:], strict=True) if old != new
        ]
        lines.append(f"  {name}: {', '.join(groups)}")
        if "input" in groups:
            lines.append("    the log itself is another: the generator changed")
        elif before.known:
            now = golden.documents(data[name])
            lines.append(f"    (commit {before.commit} -> now)")
            lines += _fields(before.documents(data[name]), now, groups)
    missing = sorted(known.keys() - data.keys())
    return "\n".join(lines + [f"  {name}: in the list, but no such log" for name in missing[:TOLD]])


@pytest.mark.parametrize("of", [name for name in golden.SETS if name not in golden.REAL])
def test_what_became_of_every_log(of: str, tmp_path: Path) -> None:
    wanted = golden.read(of)
    got, _ = golden.rows(of)
    if got != wanted:
        pytest.fail(_told(of, wanted, got, tmp_path), pytrace=False)


@pytest.mark.skipif(not golden.SHARED.is_dir(), reason="NO CORPUS: ../shared is not there, real dumps were NOT tested")
@pytest.mark.parametrize("of", golden.REAL)
def test_what_became_of_every_real_log(of: str, tmp_path: Path) -> None:
    wanted = golden.read(of)
    names = {line.split("\t")[0] for line in wanted}
    rows, _ = golden.rows(of)
    got = [line for line in rows if line.split("\t")[0] in names]
    if got != wanted:
        pytest.fail(_told(of, wanted, got, tmp_path), pytrace=False)


def test_how_sentences_are_worded() -> None:
    wanted = golden.read("words")
    got = sorted(set().union(*(golden.rows(of)[1] for of in golden.SETS if of not in golden.REAL)))
    differing = [f"no more: {line}" for line in wanted if line not in got]
    differing += [f"new: {line}" for line in got if line not in wanted]
    if differing:
        pytest.fail("\n".join(["make expectations writes words.txt anew", *differing]), pytrace=False)


def test_a_difference_is_told_by_field() -> None:
    [given] = [given for given in golden.inputs("cases") if given.name == "svn3-centos6"]
    now = golden.documents(given.data)
    before = golden.documents(given.data)
    before[0]["allocfail"]["order"] = 2
    before[1]["allocfail"]["gfp"]["name"] = "GFP_KERNEL"
    one, two = (golden.row(given, made, set()).split("\t") for made in (before, now))
    groups = [name for name, old, new in zip(["input", *golden.GROUPS], one[1:], two[1:], strict=True) if old != new]
    assert groups == ["event", "gfp"]
    assert _fields(before, now, groups) == [
        "    #0 allocfail.order: 2 -> 1",
        '    #1 allocfail.gfp.name: "GFP_KERNEL" -> "GFP_ATOMIC"',
    ]


def test_a_sentence_is_hashed_by_what_is_filled_in() -> None:
    [given] = [given for given in golden.inputs("cases") if given.name == "svn3-centos6"]
    one, two = golden.documents(given.data)[0], golden.documents(given.data)[0]
    rule = one["allocfail"]["kb"][0]
    assert "(GFP_ATOMIC)" in rule["why"]
    two["allocfail"]["kb"][0]["why"] = rule["why"].replace("may not sleep", "must not wait")
    assert golden.row(given, [one], set()) == golden.row(given, [two], set())
    two["allocfail"]["kb"][0]["why"] = rule["why"].replace("(GFP_ATOMIC)", "(GFP_NOWAIT)")
    assert golden.row(given, [one], set()) != golden.row(given, [two], set())
