"""The generated files that are committed, so that a reader sees what an engine gets and a reviewer what changed.

``python -m allocfail.build`` writes those that differ; with ``--check`` it only names them, and exits with 1.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from allocfail import facts
from allocfail.articles import search
from allocfail.build import checks, shippers
from allocfail.cluster import alerts, saved_objects
from allocfail.content import content_path
from allocfail.errors import AllocfailError
from allocfail.painless import pipelines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

#: Each returns texts by path below the project's root. Facts come first: the others are made from them.
_SOURCES: tuple[Callable[[], dict[str, str]], ...] = (
    lambda: {facts.COMPILED: facts.compile_facts()},
    search.generate,
    pipelines.generate_scripts,
    pipelines.generate,
    saved_objects.generate,
    lambda: alerts.generate(saved_objects.titles()),
    shippers.generate,
)
#: Folders that hold generated files and nothing else.
_FOLDERS = ("pipelines/generated", "saved_searches/generated")


def _stale(*, write: bool) -> Iterator[str]:
    """Yield the files that differ from what they have to be, each after it was put right where ``write`` says so."""
    wanted: set[str] = set()
    for source in _SOURCES:
        for name, text in source().items():
            wanted.add(name)
            path = content_path(name)
            if path.is_file() and path.read_bytes() == text.encode():
                continue
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
            yield name
        facts.load.cache_clear()
    for folder in _FOLDERS:
        for path in sorted(content_path(folder).rglob("*")):
            name = f"{folder}/{path.relative_to(content_path(folder)).as_posix()}"
            if path.is_file() and name not in wanted:
                if write:
                    path.unlink()
                yield name


def main() -> int:
    """Write, or with ``--check`` compare; return the exit status.

    Nothing is generated from files that are wrong: those are named instead, everything that is wrong a line.
    """
    check = "--check" in sys.argv[1:]
    told = checks.problems()
    if not told:
        try:
            stale = list(_stale(write=not check))
        except AllocfailError as error:
            told = [str(error)]
    if told:
        sys.stderr.write("".join(f"{line}\n" for line in told))
        return 1
    for name in stale:
        sys.stderr.write(f"{name} is stale: run make generate\n" if check else f"{name}\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
