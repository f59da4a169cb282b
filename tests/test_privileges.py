"""The roles that the manual gives, on an Elasticsearch with security on."""

from __future__ import annotations

import json
import uuid
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.client import Engine, connect
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import EngineError
from allocfail.cluster.identity import Identity
from allocfail.cluster.install import Wiring, install
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.ship import Item, Shipper
from allocfail.cluster.status import status
from allocfail.cluster.uninstall import uninstall
from clusters import WANTED, actions, done, put, remove_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine as Server


def role(name: str) -> dict[str, Any]:
    """Return a role as the manual gives it."""
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    block = text.partition(f"<!-- role: {name} -->\n```json\n")[2].partition("```")[0]
    found: dict[str, Any] = json.loads(block)
    return found


def key_with(admin: Engine, given: dict[str, Any]) -> Engine:
    body = {"name": uuid.uuid4().hex, "role_descriptors": {"only": given}}
    key = admin.request("POST", "/_security/api_key", body)["encoded"]
    return connect(connection(admin.where.url, api_key=key, ca_cert=admin.where.ca_cert))


@pytest.fixture
def admin(elasticsearch_secured: Server) -> Iterator[Engine]:
    secured = elasticsearch_secured
    login = {"user": secured.username, "password": secured.password, "ca_cert": str(secured.ca_file)}
    with connect(connection(secured.url, **login)) as admin:
        remove_all(admin)
        yield admin
        remove_all(admin)


def test_the_documented_role_is_enough(admin: Engine) -> None:
    admin.request("PUT", "/app-logs", {})
    wiring = Wiring(["app-logs"], hooks=["logs@custom"])
    with key_with(admin, role("install")) as limited:
        assert {change.action for change in install(limited, WANTED, wiring)} == {"created", "updated", "taken"}
        assert done(install(limited, WANTED, wiring)) == []
        assert set(actions(status(limited, WANTED)).values()) == {"current", "wired", "failed", "unset"}
        assert put(admin, "app-logs", {})["through"] is True
        named = {"index_patterns": ["app-named-*"], "template": {"settings": {"index.default_pipeline": ENTRY}}}
        admin.request("PUT", "/_index_template/app-named", named)
        assert actions(status(limited, WANTED))["index template app-named"] == "wired"
        admin.request("DELETE", "/_index_template/app-named")

        with key_with(admin, role("ship")) as shipping:
            assert (shipping.product, shipping.version) == ("elasticsearch", "")
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


@pytest.mark.parametrize(
    "privilege",
    ["monitor", "manage_index_templates", "manage_ingest_pipelines", "app-logs", "allocfail-kb", "allocfail-events"],
)
def test_every_part_of_the_documented_role_is_needed(admin: Engine, privilege: str) -> None:
    admin.request("PUT", "/app-logs", {})
    given = role("install")
    given["cluster"] = [name for name in given["cluster"] if name != privilege]
    given["indices"] = [part for part in given["indices"] if part["names"] != [privilege]]
    with (
        key_with(admin, given) as limited,
        pytest.raises(EngineError, match=r"not allowed: the (cluster|index) privilege [a-z_]+ is missing"),
    ):
        list(chain(install(limited, WANTED, Wiring(["app-logs"])), uninstall(limited, grace=0.1)))
