"""What a release takes, done by ``make release``: checked, built twice, compared, and summed up; the tag is a person's.

Nothing is published, and nothing outside of ``dist`` is written.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from allocfail.content import content_root
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["complaints", "main"]


def complaints(root: Path, version: str) -> Iterator[str]:
    """Yield what stands in the way of releasing ``version`` from the source tree ``root``, a line each."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, found, _ = text.partition(f"\n## [{version}]")
    if not found:
        yield f"CHANGELOG.md: has no section [{version}]: give [Unreleased] this name, and begin another above"
    elif re.search(r"^- ", unreleased.partition("## [Unreleased]")[2], re.MULTILINE):
        yield "CHANGELOG.md: [Unreleased] is not empty: what is in it belongs to this release, or to the next commit"
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        yield "there is no git, or no repository: a release is made from one"
        return
    status = subprocess.run([git, "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603 - git
    if status.stdout:
        yield f"git: {len(status.stdout.splitlines())} files are changed or new: commit them"
    tags = subprocess.run([git, "tag", "--list", f"v{version}"], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603 - git
    if tags.stdout:
        yield f"git: there is a tag v{version} already: raise the version in pyproject.toml"


def _built(root: Path, folder: Path) -> dict[str, bytes]:
    """Build wheel, sdist and both products' packages; return them by name."""
    commands = [["-m", "hatchling", "build", "--directory", str(folder)]]
    commands += [
        ["-m", "allocfail", "package", "build", "--engine", engine, "--output", str(folder)]
        for engine in ("elasticsearch", "opensearch")
    ]
    for command in commands:
        done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise AllocfailError(f"{' '.join(command[1:4])}: {(done.stderr or done.stdout).strip()[-500:]}")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def main(root: Path | None = None) -> int:
    """Check and build; return the exit status: 1 where something stands in the way."""
    root = root or content_root()
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    wrong = list(complaints(root, version))
    for complaint in wrong:
        sys.stderr.write(f"{complaint}\n")
    if wrong:
        return 1
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        files = _built(root, Path(one))
        again = _built(root, Path(other))
    if differ := [name for name in files if files[name] != again.get(name)]:
        sys.stderr.write(f"built twice, and not the same: {', '.join(differ)}\n")
        return 1
    dist = root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    for name, data in files.items():
        (dist / name).write_bytes(data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    (dist / "SHA256SUMS").write_text(sums, encoding="utf-8")
    sys.stdout.write(sums)
    sys.stdout.write(f"next: make test, then git tag --annotate v{version} --message 'allocfail {version}'\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
