"""The packages of both products: held against the ecosystem's own validator and schema, and run on the real engines."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from allocfail.cluster import templates
from allocfail.packages import elastic, opensearch
from allocfail.packages.parts import changes, examples, introduction, zipped
from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from engines.harness import Engine

HERE = Path(__file__).parent
HOME = "https://example.org/allocfail"
VERSION = "0.1.0"


def go() -> str | None:
    """Return the path of Go, as its installer or a package puts it."""
    return shutil.which("go") or next((path for path in ("/usr/local/go/bin/go",) if Path(path).exists()), None)


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    return dict(elastic.build(VERSION, home=HOME))


@pytest.fixture(scope="module")
def integration() -> dict[str, Any]:
    return dict(opensearch.build(VERSION, home=HOME))


def unpacked(files: dict[str, Any], folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(zipped(files, f"allocfail-{VERSION}"))) as archive:
        archive.extractall(folder)
    return folder / f"allocfail-{VERSION}"


# -- Elastic -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_elastics_own_validator_says_valid(package: dict[str, Any], tmp_path: Path) -> None:
    """package-spec 3.5.0, built from its Go module; a package that is wrong is named by it, so it does look."""
    command = go()
    env = {**os.environ, "GOFLAGS": "-mod=mod -modcacherw"}
    modules = [command or "go", "mod", "download"]
    source = HERE / "packagecheck"
    if command is None or subprocess.run(modules, cwd=source, capture_output=True, check=False, env=env).returncode:
        pytest.skip("no Go, or not its modules: the package was NOT checked by package-spec's validator")
    checker = tmp_path / "packagecheck"
    built = subprocess.run(
        [command, "build", "-o", str(checker), "."],
        cwd=source,
        capture_output=True,
        check=False,
        env=env,
    )
    assert built.returncode == 0, built.stderr.decode()[-2000:]
    folder = unpacked(package, tmp_path)
    done = subprocess.run([checker, str(folder)], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (0, "valid\n"), done.stdout + done.stderr
    (folder / "data_stream/event/fields/fields.yml").write_text("- name: allocfail\n  type: nonsense\n")
    wrong = subprocess.run([checker, str(folder)], capture_output=True, check=False, text=True)
    assert wrong.returncode == 1
    assert "fields.yml" in wrong.stdout


def test_an_exception_has_its_reason(package: dict[str, Any]) -> None:
    lines = str(package["validation.yml"]).splitlines()
    excluded = [number for number, line in enumerate(lines) if line.strip().startswith("- ")]
    assert excluded
    assert all(lines[number - 1].strip().startswith("# ") for number in excluded)


def test_a_package_has_every_field_of_an_event(package: dict[str, Any]) -> None:
    named: set[str] = set()
    for file in ("base-fields", "ecs", "fields"):
        for field in yaml.safe_load(package[f"data_stream/event/fields/{file}.yml"]):
            named |= {f"{field['name']}.{one['name']}" for one in field.get("fields", [])} or {field["name"]}

    def leaves(value: Any, path: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {path}
        return {leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))}

    def is_mapped(leaf: str) -> bool:
        return any(leaf == name or leaf.startswith(f"{name}.") or name.startswith(f"{leaf}.") for name in named)

    for _, enriched in examples(DEFAULT_URL):
        missing = {leaf for leaf in leaves(enriched) if not is_mapped(leaf)}
        assert not missing


def test_dashboards_hold_their_panels(package: dict[str, Any]) -> None:
    assert not [name for name in package if name.startswith("kibana/visualization")]
    for name in ("allocfail-failures", "allocfail-failure"):
        board = json.loads(package[f"kibana/dashboard/{name}.json"])
        panels = board["attributes"]["panelsJSON"]
        held = [panel["embeddableConfig"]["savedVis"] for panel in panels if panel["type"] == "visualization"]
        assert len(held) >= len(panels) - 1
        assert all(one["params"] and one["title"] for one in held)
        referred = {one["name"] for one in board["references"]}
        for panel in panels:
            if panel["type"] == "search":
                assert f"{panel['panelIndex']}:{panel['panelRefName']}" in referred
            elif "indexRefName" in panel["embeddableConfig"]["savedVis"]["data"]["searchSource"]:
                assert f"{panel['panelIndex']}:kibanaSavedObjectMeta.searchSourceJSON.index" in referred
        there = {f"{one['type'].replace('-', '_')}/{one['id']}" for one in board["references"]}
        assert all(f"kibana/{one}.json" in package for one in there)


def test_pipeline_tests_give_what_is_expected(package: dict[str, Any], engine: Engine) -> None:
    """As elastic-package runs them: the package's own pipelines, under the names that Fleet gives them."""
    if engine.product != "elasticsearch":
        pytest.skip("Elastic's package")
    names = {name: f"logs-{elastic.DATASET}-{VERSION}-{name}" for name in ("event", "default")}
    for name, called in names.items():
        text = package[f"data_stream/event/elasticsearch/ingest_pipeline/{name}.json"]
        for other, full in names.items():
            text = text.replace(f"{{{{ IngestPipeline '{other}' }}}}", full)
        assert "IngestPipeline" not in text
        status, answer = engine.request("PUT", f"/_ingest/pipeline/{called}", json.loads(text))
        assert status == 200, str(answer)[:2000]
    folder = "data_stream/event/_dev/test/pipeline"
    events = json.loads(package[f"{folder}/test-events.json"])["events"]
    expected = json.loads(package[f"{folder}/test-events.json-expected.json"])["expected"]
    assert len(events) >= 5
    docs = {"docs": [{"_source": event} for event in events]}
    _, answer = engine.request("POST", f"/_ingest/pipeline/{names['default']}/_simulate", docs)
    assert [one["doc"]["_source"] for one in answer["docs"]] == expected
    assert all(one["allocfail"]["kind"] for one in expected)
    for called in names.values():
        engine.request("DELETE", f"/_ingest/pipeline/{called}")


def test_examples_link_where_the_pipelines_do() -> None:
    address = "https://kb.example/x/"
    found = elastic.build(VERSION, home=HOME, kb_url=address)
    expected = str(found["data_stream/event/_dev/test/pipeline/test-events.json-expected.json"])
    sample = str(opensearch.build(VERSION, home=HOME, kb_url=address)["data/sample.json"])
    for text in (expected, sample, str(found["docs/README.md"])):
        assert address in text
        assert DEFAULT_URL not in text


def test_an_agents_input_is_yaml(package: dict[str, Any]) -> None:
    """With every block of the template on; what it joins by is what the shippers' configurations join by."""
    for kind in ("filestream", "journald"):
        text = str(package[f"data_stream/event/agent/stream/{kind}.yml.hbs"])
        lines = [line for line in text.splitlines() if not line.strip().startswith("{{#") and "{{/" not in line]
        values = {"{{processors}}": "  - drop_event: {}", "{{path}}": "/var/log/kern.log", "{{tag}}": "allocfail"}
        for name, value in values.items():
            lines = [line.replace(name, value) for line in lines]
        loaded = yaml.safe_load("\n".join(lines))
        multiline, include = loaded["parsers"]
        shipper = yaml.safe_load((HERE.parent / "ingest/shippers/elastic-agent.yml").read_text(encoding="utf-8"))
        [stream] = shipper["inputs"][0]["streams"]
        assert multiline == stream["parsers"][0]
        [pattern] = include["include_message"]["patterns"]
        assert "Out of memory: Kill" in pattern


# -- OpenSearch --------------------------------------------------------------------------------------------------------

_TEXT = {"type": "string"}
_STATIC = {
    "type": "object",
    "properties": {"path": _TEXT, "annotation": _TEXT, "data": _TEXT},
    "required": ["path"],
    "additionalProperties": False,
}


def _item(required: list[str], *more: str, **special: Any) -> dict[str, Any]:
    properties = dict.fromkeys([*required, *more], _TEXT) | special
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


#: What an integration's configuration may have: IntegrationConfig of dashboards-observability, as its repository's
#: integrations (apache-1.1.0.json) and its reader (integration_reader.ts) use it.
CONFIG = {
    "type": "object",
    "properties": {
        **dict.fromkeys(
            ["name", "version", "displayName", "license", "type", "author", "description", "sourceUrl"], _TEXT
        ),
        "labels": {"type": "array", "items": _TEXT},
        "workflows": {
            "type": "array",
            "items": _item(["name", "label", "description"], enabled_by_default={"type": "boolean"}),
        },
        "statics": {
            "type": "object",
            "properties": {"logo": _STATIC, "gallery": {"type": "array", "items": _STATIC}},
            "additionalProperties": False,
        },
        "components": {"type": "array", "minItems": 1, "items": _item(["name", "version"], "data")},
        "assets": {
            "type": "array",
            "minItems": 1,
            "items": _item(
                ["name", "version", "extension", "type"],
                "data",
                type={"enum": ["savedObjectBundle", "query"]},
                workflows={"type": "array", "items": _TEXT},
            ),
        },
        "sampleData": _item(["path"], "data"),
    },
    "required": ["name", "version", "license", "type", "components", "assets"],
    "additionalProperties": False,
}


def test_an_integrations_files_are_where_its_reader_looks(integration: dict[str, Any]) -> None:
    config = json.loads(integration[f"allocfail-{VERSION}.json"])
    jsonschema.validate(config, CONFIG)
    assert config["type"] in {one["name"] for one in config["components"]}
    wanted = {f"schemas/{one['name']}-{one['version']}.mapping.json" for one in config["components"]}
    wanted |= {f"assets/{one['name']}-{one['version']}.{one['extension']}" for one in config["assets"]}
    wanted |= {f"static/{one['path']}" for one in (config["statics"]["logo"], *config["statics"]["gallery"])}
    wanted |= {f"data/{config['sampleData']['path']}", "info/README.md"}
    assert wanted <= set(integration)
    sample = json.loads(integration["data/sample.json"])
    assert all("@timestamp" in one and "allocfail" in one for one in sample)


def test_the_importable_form_holds_all_of_it(integration: dict[str, Any]) -> None:
    [line] = opensearch.importable(integration, VERSION).splitlines()
    made = json.loads(line)
    assert (made["type"], made["references"]) == ("integration-template", [])
    jsonschema.validate(made["attributes"], CONFIG)
    [asset] = made["attributes"]["assets"]
    objects = json.loads(asset["data"])
    assert {one["type"] for one in objects} == {"index-pattern", "search", "visualization", "dashboard"}
    assert all(one["data"] for one in (*made["attributes"]["components"], made["attributes"]["statics"]["logo"]))


def test_an_integrations_mapping_takes_its_sample(integration: dict[str, Any], engine: Engine) -> None:
    if engine.product != "opensearch":
        pytest.skip("OpenSearch's integration")
    body = json.loads(integration[f"schemas/logs_allocfail-{VERSION}.mapping.json"])
    body["index_patterns"] = ["packages-sample"]
    status, answer = engine.request("PUT", "/_index_template/packages-sample", body)
    assert status == 200, answer
    for number, document in enumerate(json.loads(integration["data/sample.json"])):
        status, answer = engine.request("PUT", f"/packages-sample/_doc/{number}", document)
        assert status == 201, answer
    _, answer = engine.request("GET", "/packages-sample/_mapping")
    found = answer["packages-sample"]["mappings"]["properties"]
    assert (
        found["allocfail"]["properties"].keys()
        == templates.properties("allocfail.yml")["allocfail"]["properties"].keys()
    )
    engine.request("DELETE", "/packages-sample")
    engine.request("DELETE", "/_index_template/packages-sample")


# -- both --------------------------------------------------------------------------------------------------------------


def test_texts_are_the_projects_own() -> None:
    assert introduction().startswith("When the Linux kernel cannot get memory")
    [(version, entries), *_] = changes()
    assert version == VERSION
    assert any("allocfail decode" in entry for entry in entries)


def test_two_builds_are_the_same(tmp_path: Path) -> None:
    found = []
    for number in range(2):
        for product in ("elasticsearch", "opensearch"):
            command = [sys.executable, "-m", "allocfail", "package", "build", "--engine", product]
            done = subprocess.run([*command, "-o", str(tmp_path / str(number))], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        found.append({path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()})
    assert found[0] == found[1]
    assert set(found[0]) == {
        f"allocfail-{VERSION}.zip",
        f"allocfail-{VERSION}-opensearch.zip",
        f"allocfail-{VERSION}-opensearch.ndjson",
    }


@pytest.mark.parametrize("arguments", [("--home", "javascript:1"), ("--kb-url", "x"), ("-o", "/dev/null/x")])
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "allocfail", "package", "build", "--engine", "opensearch", "-o", str(tmp_path)]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
