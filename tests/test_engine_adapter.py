"""The adapter over both clients: who is asked, what an error says, and that it says no secret."""

from __future__ import annotations

import errno
import hashlib
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import urllib3

from allocfail.cluster.client import BulkResult, connect, path
from allocfail.cluster.connection import connection, read_secret, with_url
from allocfail.cluster.errors import EngineError, UnreachableError, unreachable
from allocfail.errors import InputError
from clusters import ROOTS, server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clusters import Answer
    from engines.harness import Engine as Server

SECRET = "tell-no1"  # noqa: S105 - what must not be printed


def rooted(product: str, then: Answer) -> Callable[[str, str, bytes], Answer]:
    return lambda _, target, __: (200, ROOTS[product]) if target == "/" else then


@pytest.fixture(params=ROOTS)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_server_says_which_client_is_taken(engine: Server) -> None:
    with connect(connection(engine.url)) as cluster:
        assert cluster.product == engine.product
        assert cluster.request("GET", "/_cluster/health")["number_of_nodes"] == 1
        assert cluster.request("GET", path("_ingest", "pipeline", "no such/pipeline"), missing_ok=True) is None


def test_bulk_says_the_same_on_both(engine: Server) -> None:
    with connect(connection(engine.url)) as cluster:
        cluster.request("PUT", "/adapter-test", {"mappings": {"properties": {"n": {"type": "long"}}}})
        try:
            act = {"_op_type": "create", "_index": "adapter-test"}
            first, second, third = cluster.bulk(
                [{**act, "_id": "1", "_source": {"n": n}} for n in (1, 2)] + [{**act, "_source": {"n": "many"}}]
            )
        finally:
            cluster.request("DELETE", "/adapter-test")
    assert first == BulkResult(201, "", "")
    assert (second.status, second.kind) == (409, "version_conflict_engine_exception")
    assert third.status == 400
    assert "failed to parse field [n] of type [long]" in third.reason
    assert "\n" not in third.reason


def test_a_request_refused_as_a_whole(product: str) -> None:
    error = {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429}
    with server(rooted(product, (429, error))) as url, connect(connection(url)) as cluster:
        with pytest.raises(EngineError, match="queue is full") as caught:
            cluster.bulk([{"_op_type": "create", "_index": "a", "_id": "1", "_source": {}}])
        assert (caught.value.status, caught.value.kind) == (429, "es_rejected_execution_exception")
        with pytest.raises(EngineError, match="queue is full"):
            cluster.request("GET", "/_cat/indices")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "action [cluster:admin/ingest/pipeline/put] is unauthorized for user [u], "  # noqa: ISC004 - one line's words
            "this action is granted by the cluster privileges [manage_ingest_pipelines,manage_pipeline,manage,all]",
            "the cluster privilege manage_ingest_pipelines is missing",
        ),
        (
            "no permissions for [cluster:admin/ingest/pipeline/put] and User [name=u, backend_roles=[]]",
            "the permission cluster:admin/ingest/pipeline/put is missing",
        ),
    ],
)
def test_the_missing_privilege_is_named(product: str, words: str, expected: str) -> None:
    body = {"error": {"type": "security_exception", "reason": words}, "status": 403}
    with (
        server(rooted(product, (403, body))) as url,
        connect(connection(url)) as cluster,
        pytest.raises(EngineError) as caught,
    ):
        cluster.request("PUT", "/_ingest/pipeline/x", {})
    assert f"not allowed: {expected} (PUT /_ingest/pipeline/x)" in str(caught.value)


def test_no_secret_and_no_control_character_in_a_message(product: str) -> None:
    body = {"error": {"type": "x", "reason": f"\x1b[31mno such key {SECRET}\nnext line"}}
    seen: list[dict[str, str]] = []
    with server(rooted(product, (400, body)), seen) as url:
        where = connection(url, user="me", password=SECRET)
        assert SECRET not in repr(where)
        with connect(where) as cluster, pytest.raises(EngineError) as caught:
            cluster.request("GET", "/_x")
    message = str(caught.value)
    assert SECRET not in message
    assert "no such key *** next line" in message
    assert message.isprintable()
    assert {header["authorization"] for header in seen} == {"Basic bWU6dGVsbC1ubzE="}


def test_secrets_from_file_environment_and_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALLOCFAIL_API_KEY", "ALLOCFAIL_USER", "ALLOCFAIL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    basic = "Basic bWU6dGVsbC1ubzE="
    assert connection("http://h:9200", user="me", password=f"@{file}").authorization == basic
    in_url = connection(f"http://me:{SECRET}@h:9200/path/")
    assert (in_url.authorization, in_url.url) == (basic, "http://h:9200/path")
    assert connection("https://[::1]").url == "https://[::1]:443"
    assert connection("http://h", api_key="aWQ6a2V5").authorization == "ApiKey aWQ6a2V5"
    assert connection("http://h", api_key="id:key").authorization == "ApiKey aWQ6a2V5"
    monkeypatch.setenv("ALLOCFAIL_USER", "me")
    monkeypatch.setenv("ALLOCFAIL_PASSWORD", SECRET)
    assert connection("http://h").authorization == basic
    monkeypatch.setenv("ALLOCFAIL_API_KEY", "aWQ6a2V5")
    assert connection("http://h").authorization == "ApiKey aWQ6a2V5"
    assert with_url(connection("http://h"), "https://other/s/x").authorization == "ApiKey aWQ6a2V5"


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("localhost:9200", {}, "must look like"),
        ("ftp://h", {}, "must look like"),
        ("http://h:99999", {}, "cannot be read"),
        ("http://h?q=1", {}, "must look like"),
        ("http://h", {"user": "me"}, "needs a password"),
        ("http://h", {"user": "me", "password": "p", "api_key": "k"}, "not both"),
        ("http://h", {"api_key": "@/nonexistent/file"}, "No such file"),
        ("http://h", {"api_key": "a\nb"}, "characters that no API key has"),
        ("https://h", {"cert_fingerprint": "abc"}, "64 hex digits"),
        ("https://h", {"ca_cert": "/nonexistent/ca.pem"}, "no such file"),
    ],
)
def test_bad_usage(url: str, options: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALLOCFAIL_API_KEY", "ALLOCFAIL_USER", "ALLOCFAIL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=words):
        connection(url, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>It works!</html>"), "neither Elasticsearch nor OpenSearch"),
        ((404, {"error": "x"}), "neither Elasticsearch nor OpenSearch"),
        ((200, {"version": {"number": "7.10.2"}}), "7.10.2 is too old for the client"),
        ((401, {"error": {"type": "security_exception", "reason": "missing"}}), "it wants credentials"),
        ((302, b""), "neither"),
    ],
)
def test_what_is_not_a_cluster(answer: Answer, words: str) -> None:
    with server(lambda *_: answer) as url, pytest.raises(EngineError, match=words):
        connect(connection(url))


def test_nothing_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="nothing listens there"):
            connect(connection(url))
    with pytest.raises(UnreachableError, match="host name is not known"):
        connect(connection("http://no-such-host.invalid:9200"))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"no answer within 0.2 s"):
            connect(connection(url, timeout=0.2))


def test_plain_http_where_tls_was_asked_for() -> None:
    with server(lambda *_: (200, {})) as url, pytest.raises(UnreachableError, match="http:// instead of https://"):
        connect(connection(url.replace("http:", "https:")))


def test_an_older_elasticsearch_is_spoken_to_in_its_media_type() -> None:
    root = {"version": {"number": "8.19.0"}}
    seen: list[dict[str, str]] = []
    with server(lambda *_: (200, root), seen) as url, connect(connection(url)) as cluster:
        cluster.request("PUT", "/x", {"a": 1})
    assert seen[-1]["content-type"] == "application/vnd.elasticsearch+json; compatible-with=8"


def test_tls_by_authority_and_by_fingerprint(elasticsearch_secured: Server, tmp_path: Path) -> None:
    secured = elasticsearch_secured
    login = {"user": secured.username, "password": secured.password}
    assert secured.ca_file is not None
    with connect(connection(secured.url, ca_cert=str(secured.ca_file), **login)) as cluster:
        assert cluster.product == "elasticsearch"

    port = int(secured.url.rpartition(":")[2])
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
    pin = hashlib.sha256(der).hexdigest()
    colons = ":".join(pin[at : at + 2].upper() for at in range(0, 64, 2))
    for fingerprint in (pin, colons):
        with connect(connection(secured.url, cert_fingerprint=fingerprint, **login)) as cluster:
            assert cluster.request("GET", "/_security/_authenticate")["username"] == secured.username
    with pytest.raises(UnreachableError, match="no certificate that it shows has the fingerprint"):
        connect(connection(secured.url, cert_fingerprint="0" * 64, **login))
    with pytest.raises(UnreachableError, match="give --ca-cert"):
        connect(connection(secured.url, **login))
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")
    with pytest.raises(InputError, match="holds no certificate"):
        connect(connection(secured.url, ca_cert=str(nonsense), **login))
    with connect(connection(secured.url, insecure=True, **login)) as cluster:
        assert cluster.version
    with pytest.raises(UnreachableError, match="https:// instead of http://"):
        connect(connection(secured.url.replace("https:", "http:"), **login))
    with pytest.raises(EngineError, match="the credentials were refused") as caught:
        connect(connection(secured.url, insecure=True, user=secured.username, password=SECRET))
    assert caught.value.status == 401
    assert SECRET not in str(caught.value)


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    return error


def broken(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(9), "the certificate is not valid yet"),
        (refused(10), "the certificate has expired"),
        (refused(18), "the certificate is signed by an authority that is not known here: give --ca-cert"),
        (refused(19), "the certificate is signed by an authority that is not known here: give --ca-cert"),
        (refused(20), "the certificate is signed by an authority that is not known here: give --ca-cert"),
        (refused(21), "the certificate is signed by an authority that is not known here: give --ca-cert"),
        (refused(62), "the certificate is for another host name"),
        (refused(64), "the certificate is for another address"),
        (refused(23), "the certificate could not be verified: what OpenSSL says"),
        (broken("WRONG_VERSION_NUMBER"), "it does not speak TLS there: is it http:// instead of https://?"),
        (broken("RECORD_LAYER_FAILURE"), "it does not speak TLS there: is it http:// instead of https://?"),
        (broken("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS failed: tlsv1 alert protocol version"),
        (
            ssl.SSLEOFError(8, "EOF"),
            "it closed the connection without a word of TLS: is it http:// instead of https://?",
        ),
        (socket.gaierror(-2, "Name or service not known"), "the host name is not known"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "nothing listens there (connection refused)"),
        (OSError(errno.ENETUNREACH, "unreachable"), "the network is unreachable"),
        (OSError(errno.EHOSTUNREACH, "no route"), "there is no route to the host"),
        (TimeoutError("timed out"), "no answer within 7 s"),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "x"), "no answer within 7 s"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "it closed the connection without an answer"),
        (http.client.RemoteDisconnected("closed"), "it closed the connection without an answer"),
        (http.client.BadStatusLine("SSH-2.0"), "what listens there does not speak HTTP"),
        (ValueError("something\x1b[0m else"), "something [0m else"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_cause_has_its_words(error: Exception, words: str) -> None:
    where = connection("https://h:9200", timeout=7)
    told = unreachable(where, error)
    assert str(told).startswith(f"https://h:9200: {words}")
    # As urllib3 hands it on, and as the clients do.
    wrapped = urllib3.exceptions.MaxRetryError(
        None, "/", urllib3.exceptions.ProtocolError("Connection aborted.", error)
    )
    if not isinstance(error, ValueError):
        assert str(unreachable(where, wrapped)) == str(told)


def test_a_secret_file_without_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content in (b"", b"\n", b"  \nsecond line\n"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="holds no secret on its first line"):
            read_secret(f"@{file}", "X")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not text"):
        read_secret(f"@{file}", "X")
    file.write_text("  first \nsecond\n")
    assert read_secret(f"@{file}", "X") == "first"
