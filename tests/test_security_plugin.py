"""The roles that the manual gives for OpenSearch, on a node with OpenSearch's own security plugin."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import EngineError
from allocfail.cluster.identity import Identity
from allocfail.cluster.install import Wiring, install
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.ship import Item, Shipper
from allocfail.cluster.status import status
from allocfail.cluster.uninstall import uninstall
from allocfail.demo import artifacts
from clusters import WANTED, actions, done, put, remove_all
from engines import harness, older

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

HERE = Path(__file__).parent
#: The user of the plugin's example, and its password.
ADMIN = "admin"
NODE, PLUGIN = "opensearch-2.19", "opensearch-security-2.19"


def role(name: str) -> dict[str, Any]:
    """Return a role as the manual gives it."""
    text = (HERE.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(
        text.partition(f"<!-- role: opensearch-{name} -->\n```yaml\n")[2].partition("```")[0]
    )
    return found


@pytest.fixture(scope="module")
def guarded(console: Console, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a node that lets nobody in without a password."""
    java = older.java_17()
    if java is None:
        pytest.skip("no Java 17 found (JAVA_HOME, java on the path, /usr/lib/jvm): the security plugin was NOT tested")
    artifacts.fetch(artifacts.read_lock(HERE / "engines" / f"{NODE}.lock"), console=console)
    (plugin,) = artifacts.fetch(artifacts.read_lock(HERE / "engines" / f"{PLUGIN}.lock"), console=console)
    with older.started(NODE, java, tmp_path_factory.mktemp(PLUGIN), [str(plugin)]) as address:
        node = harness.Engine("opensearch", address, ADMIN, ADMIN)
        deadline = time.monotonic() + harness.START_SECONDS
        while node.request("GET", "/")[0] == 503:  # the plugin makes its index first
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield address


@pytest.fixture
def admin(guarded: str) -> Iterator[Engine]:
    with connect(connection(guarded, user=ADMIN, password=ADMIN, timeout=20)) as admin:
        remove_all(admin)
        yield admin
        remove_all(admin)


def user_with(admin: Engine, given: dict[str, Any]) -> Engine:
    """Return a connection of somebody who has one role."""
    name, password = f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    admin.request("PUT", path("_plugins", "_security", "api", "roles", name), given)
    body = {"password": password, "opendistro_security_roles": [name]}
    admin.request("PUT", path("_plugins", "_security", "api", "internalusers", name), body)
    return connect(connection(admin.where.url, user=name, password=password, timeout=20))


@pytest.mark.engine
def test_nobody_is_let_in_without_a_password(admin: Engine) -> None:
    with pytest.raises(EngineError, match="not signed in"), connect(connection(admin.where.url)) as nobody:
        list(status(nobody, WANTED))


@pytest.mark.engine
def test_the_documented_roles_are_enough(admin: Engine) -> None:
    admin.request("PUT", "/app-logs", {})
    wiring = Wiring(["app-logs"], hooks=["app-hook"])
    with user_with(admin, role("install")) as limited, user_with(admin, role("ship")) as shipping:
        assert {change.action for change in install(limited, WANTED, wiring)} >= {"created", "taken"}
        assert done(install(limited, WANTED, wiring)) == []
        assert set(actions(status(limited, WANTED)).values()) <= {"current", "wired", "failed", "unset", "called"}
        assert put(admin, "app-logs", {})["through"] is True

        shipper = Shipper(shipping, "allocfail-events")
        for number in range(2):
            event = {"event": {"original": f"x{number}"}, "allocfail": {"kind": "oom_kill"}}
            shipper.send([Item(Identity("web1", "", f"{number}", f"x{number}"), event, "here")])
            assert shipper.done.indexed == number + 1
        with pytest.raises(EngineError, match="not allowed"):
            list(install(shipping, WANTED))

        admin.request("PUT", "/app-other", {"settings": {"index.final_pipeline": ENTRY}})
        left = {change.id: change.note for change in uninstall(limited, grace=0.1) if change.action == "left"}
        assert left["allocfail"] == "used by index app-other"
        admin.request("DELETE", "/app-other")
        assert actions(uninstall(limited, grace=0.1))["pipeline allocfail"] == "removed"
