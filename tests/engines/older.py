"""Older engines for tests, each in a process of its own: ``python older.py NAME JAVA DATA PORT [PLUGIN]``.

Their jars are pinned in ``NAME.lock``; both want a Java 17 (newer ones have no security manager, which they ask for).
The process prints the address once it answers, and ends when its standard input does. PLUGIN is the archive of
OpenSearch's security plugin, which then guards the node: plain HTTP, and the users of the plugin's own example.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jpype

from allocfail.demo import artifacts, node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
#: The plugin's class, and what its store of keys is closed with; the nodes talk to one another by TLS alone.
SECURITY = "org.opensearch.security.OpenSearchSecurityPlugin"
_STORE = "changeit-1"


def java_17() -> Path | None:
    """Return the home of a Java 17, the newest that these engines start on."""
    return next((home for home in node._java_homes() if node._java_release(home)[0] == 17), None)


@contextmanager
def started(name: str, java: Path, folder: Path, plugin: Sequence[str] = ()) -> Iterator[str]:
    """Run the engine called ``name`` as long as the block lasts; give its address. Its jars are in the cache."""
    command = [sys.executable, __file__, name, str(java), str(folder), str(node.free_port()), *plugin]
    with (
        (folder / "console.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        address = next((line for line in iter(process.stdout.readline, b"") if line.startswith(b"http://")), b"")
        assert address, (folder / "console.log").read_text("utf-8", "replace")[-3000:]
        yield address.decode().strip()
        process.stdin.close()
        process.stdout.close()


def secure(java: Path, folder: Path, archive: Path) -> tuple[dict[str, str], list[str]]:
    """Unpack the security plugin below a node's folder; return the node's settings for it, and the plugin's jars."""
    plugin, keys = folder / "plugin", folder / "keys"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(plugin)
    shutil.copytree(plugin / "config", folder / "node_1" / "config" / "opensearch-security")
    keys.mkdir()
    certificate = keys / "node.pem"
    for store, arguments in (
        ("node", ["-genkeypair", "-alias", "node", "-keyalg", "RSA", "-validity", "30", "-dname", "CN=node"]),
        ("node", ["-exportcert", "-rfc", "-alias", "node", "-file", str(certificate)]),
        ("trusted", ["-importcert", "-noprompt", "-alias", "node", "-file", str(certificate)]),
    ):
        tool = [str(java / "bin" / "keytool"), "-keystore", str(keys / f"{store}.p12"), "-storetype", "PKCS12"]
        subprocess.run([*tool, "-storepass", _STORE, *arguments], check=True, capture_output=True)
    prefix = "plugins.security"
    settings = {
        f"{prefix}.ssl.http.enabled": "false",
        f"{prefix}.ssl.transport.enforce_hostname_verification": "false",
        f"{prefix}.allow_default_init_securityindex": "true",
        f"{prefix}.nodes_dn.0": "CN=node",
        f"{prefix}.restapi.roles_enabled.0": "all_access",
    }
    for store, kind in (("node", "keystore"), ("trusted", "truststore")):
        settings[f"{prefix}.ssl.transport.{kind}_type"] = "PKCS12"
        settings[f"{prefix}.ssl.transport.{kind}_filepath"] = str(keys / f"{store}.p12")
        settings[f"{prefix}.ssl.transport.{kind}_password"] = _STORE
    return settings, sorted(map(str, plugin.glob("*.jar")))


def run(name: str, java: Path, folder: Path, port: int, plugin: str = "") -> None:
    """Run the engine called ``name`` until standard input ends."""
    product, runner_name, roles = RUNNERS[name]
    runner_name = f"org.codelibs.{product}.runner.{runner_name}"
    settings = {
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "discovery.type": "single-node",
        "http.port": str(port),
        "network.host": "127.0.0.1",
        "transport.port": str(node.free_port()),
    }
    jars = [str(artifacts.path_of(pin)) for pin in artifacts.read_lock(HERE / f"{name}.lock")]
    if plugin:
        added, more = secure(java, folder, Path(plugin))
        settings |= added
        # The runner has one class path: what the engine brings itself counts.
        known = {Path(jar).name for jar in jars}
        jars += [jar for jar in more if Path(jar).name not in known]

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
        classpath=jars,
    )
    runner_class = jpype.JClass(runner_name)
    runner = runner_class()
    runner.onBuild(Builder())
    configs = runner_class.newConfigs().numOfNode(1).clusterName("allocfail").basePath(str(folder))
    configs = configs.moduleTypes(",".join(f"org.{product}.{module}" for module in MODULES))
    runner.build(configs.pluginTypes(SECURITY) if plugin else configs)
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":

    def _watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=_watch, daemon=True).start()
    try:
        run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
    except jpype.JException as error:
        sys.stderr.write(f"{error}\n{error.stacktrace()}\n")
        sys.stderr.flush()
        os._exit(1)
    threading.Event().wait()
