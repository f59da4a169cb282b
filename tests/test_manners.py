"""What those who run it expect beside the commands: completion, a manual page, one file, a release to be repeated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocfail.build import release
from allocfail.commands.cli import COMMANDS
from allocfail.logs import finding

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples/svn3-centos6.log"


def run(*arguments: str, **env: str) -> str:
    command = [sys.executable, "-m", "allocfail", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | env)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the shell ---------------------------------------------------------------------------------------------------------


def completed(line: str, tmp_path: Path) -> list[str]:
    """Return what bash completes a line to, with the script that the command prints."""
    script = tmp_path / "completion.bash"
    script.write_text(run("completion", "bash"), encoding="utf-8")
    words = line.split(" ")
    lines = [
        f"source {script}",
        f"COMP_WORDS=({' '.join(word or chr(39) * 2 for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        "_allocfail_completion allocfail",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    assert completed("allocfail de", tmp_path) == ["decode", "demo"]
    assert completed("allocfail kb se", tmp_path) == ["search", "serve"]
    assert "--timezone" in completed("allocfail decode --t", tmp_path)
    assert completed("allocfail pipelines build --engine o", tmp_path) == ["opensearch"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(run("completion", shell), encoding="utf-8")
    assert f"{shell}_complete" in script.read_text(encoding="utf-8")
    if (found := shutil.which(shell)) is None:
        pytest.skip(f"no {shell} found: its script was NOT read by it")
    assert subprocess.run([found, "-n", str(script)], check=False).returncode == 0


# -- the manual page ---------------------------------------------------------------------------------------------------


def test_the_manual_page_has_every_command_and_option() -> None:
    page = run("manual")
    sections = {line.split()[1].replace("\\-", "-") for line in page.splitlines() if line.startswith(".SS ")}
    assert sections == set(COMMANDS)
    for option in ("explain-fingerprint", "kb-url", "retry-dead-letters", "dashboards-url"):
        assert "\\-\\-" + option.replace("-", "\\-") in page
    assert not [line for line in page.splitlines() if line.startswith("'")]


def test_the_manual_page_is_one(tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff found: the manual page was NOT set")
    file = tmp_path / "allocfail.1"
    file.write_text(run("manual"), encoding="utf-8")
    done = subprocess.run([groff, "-K", "utf8", "-man", "-Tutf8", "-ww", str(file)], capture_output=True, check=False)
    problems = [line for line in done.stderr.decode().splitlines() if "preconv" not in line]
    assert (done.returncode, problems) == (0, [])
    assert "Interrupted." in done.stdout.decode()


# -- the single file ---------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=3))
def test_both_ways_of_finding_agree(text: bytes, wanted: bytes) -> None:
    assert finding._find(text, wanted) == finding.find(text, wanted) == text.find(wanted)
    view = memoryview(text)[1:]
    assert finding._find(view, wanted) == bytes(view).find(wanted)


@pytest.mark.slow
def test_the_single_file_decodes(tmp_path: Path) -> None:
    """In a Python that has nothing of ours; what it cannot do is one line."""
    done = subprocess.run(
        ["make", "pyz", f"BUILD={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    file = tmp_path / "allocfail.pyz"
    with zipfile.ZipFile(file) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def single(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(bare / "bin/python"), "-I", str(file), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)

    decoded = single("decode", "--year", "2014", str(SAMPLE))
    assert (decoded.returncode, decoded.stderr) == (0, "")
    assert decoded.stdout == run("decode", "--year", "2014", str(SAMPLE))
    assert single("decode", "--format", "text", str(SAMPLE)).stdout.startswith("page allocation failure: order 1")
    refused = single("kb", "search", "zone")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "install the wheel" in refused.stderr


# -- the release -------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_what_stands_in_the_way_of_a_release(tmp_path: Path) -> None:
    log = tmp_path / "CHANGELOG.md"
    log.write_text("# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [1.0.0]\n\n- First.\n")
    assert ["no repository" in one for one in release.complaints(tmp_path, "1.0.0")] == [False, True]
    git(tmp_path, "init")
    assert [one.partition(":")[0] for one in release.complaints(tmp_path, "2.0.0")] == ["CHANGELOG.md", "git"]
    log.write_text("# Changelog\n\n## [Unreleased]\n\n## [2.0.0]\n\n- New.\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    assert list(release.complaints(tmp_path, "2.0.0")) == []
    git(tmp_path, "tag", "v2.0.0")
    assert ["raise the version" in one for one in release.complaints(tmp_path, "2.0.0")] == [True]


@pytest.mark.slow
def test_two_builds_are_the_same(tmp_path: Path) -> None:
    builds = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        builds.append(release._built(ROOT, folder))
    assert builds[0] == builds[1]
    assert sorted(Path(name).suffix for name in builds[0]) == [".gz", ".ndjson", ".whl", ".zip", ".zip"]
