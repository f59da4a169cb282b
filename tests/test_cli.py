"""The command line: exit statuses, one clear line for bad input, nothing slow at start."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from allocfail.commands.cli import COMMANDS

SAMPLE = Path(__file__).parents[1] / "samples" / "svn3-centos6.log"
SEED = Path(__file__).parents[2] / "shared" / "seed"


def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "allocfail", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


def one_line(result: subprocess.CompletedProcess[bytes]) -> str:
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("allocfail: ")
    return lines[0]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.returncode == 0
    text = result.stdout.decode()
    assert "Example" in text or "Commands:" in text
    assert f"allocfail {name}" in text or "Commands:" in text


def test_help_imports_no_client_and_nothing_else_that_is_slow() -> None:
    code = "import sys, allocfail.commands.cli; print(sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout.decode()
    for name in ("elasticsearch", "opensearchpy", "yaml", "rich", "markdown", "multiprocessing", "asyncio"):
        assert f"'{name}'" not in loaded


def test_decode_gives_the_two_events_of_the_sample() -> None:
    result = run("decode", str(SAMPLE))
    assert result.returncode == 0
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(documents) == 2
    for document in documents:
        own = document["allocfail"]
        assert own["order"] == 1
        assert own["gfp"]["name"] == "GFP_ATOMIC"
        assert own["gfp"]["flags"] == ["__GFP_HIGH"]
        assert own["gfp"]["may_sleep"] is False
        assert own["trace"]["context"] == "softirq"
        assert own["trace"]["modules"] == ["nf_conntrack_ipv4", "xen_netfront", "xen_blkfront"]
        assert own["site"] == "sk_prot_alloc"
        assert own["subsystem"] == "tcp"
        assert own["complete"] is True
        assert own["verdict"]["zone_reclaim_mode"] == "cannot-act"
        assert "may not sleep" in own["verdict"]["zone_reclaim_reason"]
        assert own["kb"][0]["id"] == "zone-reclaim-mode"
        assert document["host"]["hostname"] == "svn3"
    assert len({document["error"]["id"] for document in documents}) == 1
    assert [d["log"]["offset"] for d in documents] == [36, 3628]


@pytest.mark.skipif(not SEED.is_dir(), reason="NO SEED: ../shared is not there, the pasted page was NOT tested")
@pytest.mark.parametrize("name", ["000_3458eef1c28a3ced.txt", "svn3-centos6-pasted.log", "svn3-centos6.log"])
def test_decode_reads_the_page_the_sample_was_pasted_from(name: str) -> None:
    plain = [json.loads(line)["allocfail"] for line in run("decode", str(SAMPLE)).stdout.splitlines()]
    pasted = [json.loads(line)["allocfail"] for line in run("decode", str(SEED / name)).stdout.splitlines()]
    assert pasted == plain


@pytest.mark.parametrize("command", ["gzip", "xz", "zstd"])
def test_decode_reads_compressed_logs(command: str, tmp_path: Path) -> None:
    pack = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.compress}[command]
    file = tmp_path / "log"
    file.write_bytes(pack(SAMPLE.read_bytes()))
    assert len(run("decode", str(file)).stdout.splitlines()) == 2
    assert len(run("decode", "-", stdin=file.read_bytes()).stdout.splitlines()) == 2


def test_text_reports_say_what_to_do() -> None:
    text = run("decode", "--format", "text", str(SAMPLE)).stdout.decode()
    for words in (
        "order 1: 2 adjacent pages",
        "GFP_ATOMIC",
        "sk_prot_alloc",
        "it cannot act here",
        "kb show zone-reclaim-mode#",
    ):
        assert words in text
    assert text.splitlines()[-1] == "2 events in 1 group"
    served = run("decode", "--format", "text", "--kb-url", "https://kb.example/", str(SAMPLE)).stdout.decode()
    assert "https://kb.example/zone-reclaim-mode.html#" in served


def test_explain_says_which_rule_dropped_a_frame() -> None:
    text = run("decode", "--explain-fingerprint", "--format", "text", str(SAMPLE)).stdout.decode()
    assert re.search(r"dropped by rule 4 +\? __alloc_pages_nodemask", text)
    assert re.search(r"kept +\? sk_prot_alloc", text)
    frames = json.loads(run("decode", "--explain-fingerprint", str(SAMPLE)).stdout.splitlines()[0])["frames"]
    assert {frame["rule"] for frame in frames} == {None, 1, 2, 4, 5}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("decode", "/no/such/file"), 2),
        (("decode", "/"), 2),
        (("decode", "--nonsense"), 2),
        (("decode", "--kernel", "nonsense", str(SAMPLE)), 2),
        (("decode", "--timezone", "Mars/Olympus", str(SAMPLE)), 2),
        (("decode", "--kb-url", "javascript:1", str(SAMPLE)), 2),
        (("decode", "/dev/null"), 1),
        (("gfp", "nonsense"), 2),
        (("gfp", "0x20", "--kernel", "nonsense"), 2),
        (("zone-reclaim", "nonsense"), 2),
        (("kb", "show", "nonsense"), 1),
        (("enrich", "/no/such/file"), 2),
        (("pipelines", "build", "--engine", "solr"), 2),
        (("nonsense",), 2),
        (("ship", "--url", "http://127.0.0.1:1", str(SAMPLE)), 1),
        (("status", "--url", "http://127.0.0.1:1"), 1),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], status: int) -> None:
    result = run(*arguments)
    assert result.returncode == status
    one_line(result)
    assert result.stdout == b""


def test_one_bad_file_does_not_keep_the_others_from_being_read() -> None:
    result = run("decode", "/no/such/file", str(SAMPLE))
    assert result.returncode == 2
    assert len(result.stdout.splitlines()) == 2


def test_damaged_archives_give_what_was_readable(tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(SAMPLE.read_bytes() * 50)[:-20])
    result = run("decode", str(file))
    assert result.returncode == 2
    assert len(result.stdout.splitlines()) > 50
    one_line(result)


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m allocfail decode - | head -c 10"
    result = subprocess.run(
        ["sh", "-c", command], input=SAMPLE.read_bytes() * 200, capture_output=True, check=False, timeout=60
    )
    assert result.stderr == b""


def test_an_interrupt_leaves_with_130_and_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "allocfail", "decode", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(SAMPLE.read_bytes())
    process.stdin.flush()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_hostile_names_do_not_reach_the_terminal_raw() -> None:
    log = b"\xc2\x9b2J\x07evil\x1b: page allocation failure. order:0, mode:0x20\n"
    result = run("decode", "--format", "text", "-", stdin=log)
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", result.stdout)
    assert "\u009b" not in result.stdout.decode()


def test_enrich_is_a_filter() -> None:
    lines = [
        b'{"message": "nothing here", "n": 1.10}\n',
        b'{"message":"swapper: page allocation failure. order:1, mode:0x20","@timestamp":"2020-01-01T00:00:00Z"}\n',
        b"not JSON at all\n",
        b'{"message":"allocated, but no event"}\r\n',
        b"\n",
        b"swapper: page allocation failure. order:1, mode:0x20\n",
        b'{"last":"without a line end"}',
    ]
    result = run("enrich", stdin=b"".join(lines))
    out = result.stdout.splitlines(keepends=True)
    assert [out[i] for i in (0, 2, 3, 4, 5, 6)] == [lines[i] for i in (0, 2, 3, 4, 5, 6)]
    assert json.loads(out[1])["allocfail"]["order"] == 1
    assert result.returncode == 1
    assert "line 6" in one_line(result)
