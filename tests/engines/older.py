"""Older engines for tests, each in a process of its own: ``python older.py NAME JAVA DATA PORT``.

Their jars are pinned in ``NAME.lock``; both want a Java 17 (newer ones have no security manager, which they ask for).
The process prints the address once it answers, and ends when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import jpype

from allocfail.demo import artifacts
from allocfail.demo.node import free_port

HERE = Path(__file__).parent
#: The classes of the modules that are loaded, below the product's own package.
MODULES = (
    "index.mapper.MapperExtrasPlugin",
    "index.reindex.ReindexPlugin",
    "ingest.common.IngestCommonPlugin",
    "painless.PainlessPlugin",
    "script.mustache.MustachePlugin",
    "transport.Netty4Plugin",
)
#: Lock file → the product's package, its runner's class, and the node's roles by its names.
RUNNERS = {
    "opensearch-2.19": ("opensearch", "OpenSearchRunner", ("cluster_manager", "data", "ingest")),
    "elasticsearch-7.10": ("elasticsearch", "ElasticsearchClusterRunner", ("master", "data", "ingest")),
}


def run(name: str, java: Path, folder: Path, port: int) -> None:
    """Run the engine called ``name`` until standard input ends."""
    product, runner_name, roles = RUNNERS[name]
    runner_name = f"org.codelibs.{product}.runner.{runner_name}"
    settings = {
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "discovery.type": "single-node",
        "http.port": str(port),
        "network.host": "127.0.0.1",
        "transport.port": str(free_port()),
    }

    @jpype.JImplements(f"{runner_name}$Builder", deferred=True)
    class Builder:
        @jpype.JOverride
        def build(self, _number: int, builder: Any) -> None:
            builder.putList("node.roles", *roles)
            for setting, value in settings.items():
                builder.put(setting, value)

    jpype.startJVM(
        str(java / "lib" / "server" / "libjvm.so"),
        "-Xmx1g",
        "-Djava.security.manager=allow",
        "-Xrs",
        classpath=[str(artifacts.path_of(pin)) for pin in artifacts.read_lock(HERE / f"{name}.lock")],
    )
    runner_class = jpype.JClass(runner_name)
    runner = runner_class()
    runner.onBuild(Builder())
    configs = runner_class.newConfigs().numOfNode(1).clusterName("allocfail").basePath(str(folder))
    runner.build(configs.moduleTypes(",".join(f"org.{product}.{module}" for module in MODULES)))
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":

    def _watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=_watch, daemon=True).start()
    try:
        run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    except jpype.JException as error:
        sys.stderr.write(f"{error}\n{error.stacktrace()}\n")
        sys.stderr.flush()
        os._exit(1)
    threading.Event().wait()
