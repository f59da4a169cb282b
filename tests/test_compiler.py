"""The compiler, a construct a case: ``tests/compiler/*.test``; adding one needs no code.

``[case name]`` is followed by Python. Then stand ``[out]``, the Painless of all its functions, with ``[params]``, the
constants as JSON where there are any, and ``[gives]``: calls and what they return, in Python and on a real engine.
Or ``[refused]``: the line of the module, and what to write instead. ``make expectations`` writes ``[out]``,
``[params]`` and ``[refused]`` anew, to be reviewed in the diff.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.painless.regex import UnsupportedPatternError
from allocfail.painless.sources import CompileError, Sources
from allocfail.painless.values import as_param
from compiled import checked, compiled, imported, processor, simulated

if TYPE_CHECKING:
    from engines.harness import Engine

FOLDER = Path(__file__).parent / "compiler"
HEAD = "from __future__ import annotations\n"


@dataclass(frozen=True)
class Case:
    """A case of a file."""

    file: Path
    name: str
    sections: dict[str, str]

    @property
    def module(self) -> str:
        return f"{self.file.stem}_{self.name}".replace("-", "_")

    @property
    def python(self) -> str:
        return HEAD + self.sections["python"]

    def calls(self) -> dict[str, list[tuple[list[Any], Any]]]:
        """Return by function: arguments, and what it gives for them."""
        found: dict[str, list[tuple[list[Any], Any]]] = {}
        for line in self.sections.get("gives", "").splitlines():
            call, _, result = line.partition(" == ")
            name, _, arguments = call.partition("(")
            found.setdefault(name, []).append((json.loads(f"[{arguments[:-1]}]"), json.loads(result)))
        return found


def read_cases(file: Path) -> list[Case]:
    """Read a file of cases."""
    cases = []
    for part in re.split(r"^\[case ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("]\n")
        pieces = re.split(r"^\[(out|params|gives|refused)\]\n", body, flags=re.MULTILINE)
        sections = dict(zip(pieces[1::2], (text.strip("\n") for text in pieces[2::2]), strict=True))
        cases.append(Case(file, name, {"python": pieces[0].strip("\n") + "\n", **sections}))
    return cases


def said(sources: Sources, case: Case) -> dict[str, str]:
    """Return what the compiler makes of a case, as its sections."""
    try:
        made = compiled(sources, case.module)
    except CompileError as error:
        line, _, text = str(error).partition(".py:")[2].partition(": ")
        return {"refused": f"{int(line) - 1}: {text}"}
    except UnsupportedPatternError as error:
        return {"refused": str(error)}
    if not made.constants:
        return {"out": made.source}
    return {"out": made.source, "params": json.dumps(made.constants, ensure_ascii=False)}


def rewritten(file: Path, sources: Sources) -> str:
    """Return a file of cases with what the compiler says now."""
    parts = []
    for case in read_cases(file):
        gives = {"gives": case.sections["gives"]} if "gives" in case.sections else {}
        sections = "".join(f"[{name}]\n{text}\n" for name, text in (said(sources, case) | gives).items())
        parts.append(f"[case {case.name}]\n{case.sections['python']}{sections}")
    return "\n".join(parts)


def written(root: Path) -> dict[Path, str]:
    """Return all files of cases as they should be; ``root`` is a folder to compile in."""
    sources = checked(root, {case.module: case.python for case in CASES})
    return {file: rewritten(file, sources) for file in sorted(FOLDER.glob("*.test"))}


CASES = [case for file in sorted(FOLDER.glob("*.test")) for case in read_cases(file)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return checked(tmp_path_factory.mktemp("compiler"), {case.module: case.python for case in CASES})


def test_python_with_a_wrong_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"wrong\.py:1: error: Incompatible return value type"):
        checked(tmp_path, {"wrong": "def number(text: str) -> int: return text\n"})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.module)
def test_case_is_compiled_as_written(case: Case, sources: Sources) -> None:
    expected = {name: text for name, text in case.sections.items() if name not in {"python", "gives"}}
    assert said(sources, case) == expected


@pytest.mark.parametrize("case", [case for case in CASES if case.calls()], ids=lambda case: case.module)
def test_case_gives_in_python_what_it_says(case: Case, sources: Sources) -> None:
    assert sources
    module = imported(case.module)
    for name, calls in case.calls().items():
        for arguments, expected in calls:
            assert as_param(getattr(module, name)(*arguments)) == expected, (name, arguments)


def test_cases_give_on_an_engine_what_they_say(engine: Engine, sources: Sources) -> None:
    wanted: dict[str, Any] = {}
    processors = []
    for case in CASES:
        calls = case.calls()
        if calls:
            given = {name: [arguments for arguments, _ in pairs] for name, pairs in calls.items()}
            processors.append(processor(compiled(sources, case.module), case.module, given))
            wanted[case.module] = {name: [expected for _, expected in pairs] for name, pairs in calls.items()}
    assert simulated(engine, processors) == wanted
