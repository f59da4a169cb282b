"""The wheel: it carries all it needs, and works from an empty folder with no source tree near."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from allocfail.painless import pipelines

ROOT = Path(__file__).parents[1]
CONTENT = ("kb", "pipelines", "samples", "saved_searches")
SAMPLE = ROOT / "samples/svn3-centos6.log"

pytestmark = pytest.mark.slow


class Installed(NamedTuple):
    """A wheel, and a virtual environment that it is installed in."""

    wheel: Path
    bin: Path
    empty: Path

    def run(self, *arguments: str, text: str = "", status: int = 0) -> str:
        """Run the installed command in an empty folder and return what it prints."""
        done = subprocess.run(
            [str(self.bin / "allocfail"), *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=self.empty,
            env={"PATH": str(self.bin), "HOME": str(self.empty), "COLUMNS": "200"},
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel without a network and install it, with this environment's packages as its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    build = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True, timeout=300)
    [wheel] = folder.glob("*.whl")
    home = folder / "venv"
    venv.create(home, symlinks=True)
    [python] = (home / "bin").glob("python3")
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True, timeout=300
    )
    # A path that stands in a .pth file is searched, but the .pth files in it are not read: so an editable
    # installation in this environment stays out of sight.
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    empty = folder / "empty"
    empty.mkdir()
    return Installed(wheel, home / "bin", empty)


def test_wheel_holds_every_content_file_unchanged(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
        for folder in CONTENT:
            files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
            assert files
            for path in files:
                name = f"allocfail/_content/{path.relative_to(ROOT).as_posix()}"
                assert name in names
                assert archive.read(name) == path.read_bytes()
        assert {"allocfail/py.typed", "allocfail/demo/opensearch.lock"} <= names
        assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
        assert [name for name in names if name.endswith("dist-info/licenses/LICENSE")]


def test_installed_copy_is_the_wheels(installed: Installed) -> None:
    told = subprocess.run(
        [str(installed.bin / "python3"), "-c", "from allocfail.content import content_root; print(content_root())"],
        cwd=installed.empty,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert Path(told).name == "_content"
    assert Path(told).is_relative_to(installed.bin.parent)


def test_decode(installed: Installed) -> None:
    out = installed.run("decode", "-", text=SAMPLE.read_text(encoding="utf-8"))
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["allocfail"]["site"] for event in events] == ["sk_prot_alloc", "sk_prot_alloc"]
    assert {event["rule"]["id"] for event in events} == {"zone-reclaim-mode"}


def test_kb(installed: Installed) -> None:
    ids = [json.loads(line)["id"] for line in installed.run("kb", "list").splitlines()]
    assert sorted(ids) == sorted(path.stem for path in (ROOT / "kb/articles").glob("*.md"))
    assert installed.run("kb", "show", "zone-reclaim-mode").startswith("# vm.zone_reclaim_mode")
    installed.run("kb", "build", "-o", "site")
    assert (installed.empty / "site/zone-reclaim-mode.html").is_file()


def test_gfp(installed: Installed) -> None:
    out = json.loads(installed.run("gfp", "0x20", "--kernel", "2.6.32-431.el6.x86_64", "--format", "json"))
    assert out["name"] == "GFP_ATOMIC"


def test_zone_reclaim(installed: Installed) -> None:
    assert installed.run("zone-reclaim", "1", "--kernel", "5.14")


def test_demo_finds_its_sample(installed: Installed) -> None:
    code = "from allocfail.demo import demo; print(len(list(demo._messages())))"
    out = subprocess.check_output([str(installed.bin / "python3"), "-c", code], cwd=installed.empty, text=True)
    assert out.strip() == "2"


@pytest.mark.parametrize("product", ["elasticsearch", "opensearch"])
def test_pipelines_and_saved_objects(installed: Installed, product: str) -> None:
    installed.run("pipelines", "build", "--engine", product, "-o", product)
    built = sorted((installed.empty / product).iterdir())
    assert "allocfail.json" in [path.name for path in built]
    wanted = pipelines.generate()
    for path in built:
        assert path.read_text(encoding="utf-8") == wanted[f"pipelines/generated/{product}/{path.name}"]
    code = f"from allocfail.cluster import saved_objects; print(len(saved_objects.build({product!r})))"
    out = subprocess.check_output([str(installed.bin / "python3"), "-c", code], cwd=installed.empty, text=True)
    assert int(out) >= 2
