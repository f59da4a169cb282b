"""One way to talk to a cluster, over the client that belongs to its product.

The server's root endpoint says which product it is; then that product's own client does the talking. Everything
above this module sees paths, JSON and :class:`EngineError`, the same for both.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import urllib3

__all__ = [
    "BulkResult",
    "Connection",
    "Engine",
    "EngineError",
    "UnreachableError",
    "connect",
    "connection",
    "http_pool",
    "path",
    "read_secret",
    "with_url",
]

#: Longest part of a server's own words that goes into a message, in characters.
_MAX_REASON = 400


class EngineError(AllocfailError):
    """The cluster refused or could not do what was asked."""

    def __init__(self, message: str, *, status: int | None = None, kind: str = "", reason: str = "") -> None:
        """Take the line for a person, and the HTTP status, error type and reason as the server gave them."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.reason = reason


class UnreachableError(EngineError):
    """Nothing that could answer is there: connection refused, name unknown, TLS failed, time over."""


@dataclass(frozen=True)
class Connection:
    """Where a cluster is and how to get in; secrets are in no ``repr``."""

    url: str
    """Scheme, host, port and path prefix, without user and password."""
    authorization: str | None = field(default=None, repr=False)
    """The value of the Authorization header."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must never show up in a message."""
    ca_cert: str | None = None
    """PEM file of the authority that signed the server's certificate."""
    cert_fingerprint: str | None = None
    """SHA-256 of a certificate in the server's chain, in hex."""
    insecure: bool = False
    """Take any certificate."""
    timeout: float = 30.0
    """Seconds until a request is given up."""

    def scrub(self, text: str) -> str:
        """Return ``text`` as one line without control characters and secrets."""
        for secret in self.secrets:
            if len(secret) > 2:
                text = text.replace(secret, "***")
        text = "".join(char if char.isprintable() else " " for char in text)
        text = " ".join(text.split())
        return text if len(text) <= _MAX_REASON else text[:_MAX_REASON] + "…"


class BulkResult(NamedTuple):
    """What became of one document of a bulk request."""

    status: int
    """HTTP status of the one action: 201 created, 409 there already, 429 too busy, other 4xx rejected."""
    kind: str
    """The error's type, empty when it was indexed."""
    reason: str
    """The error's reason, one line."""


class _Client(Protocol):
    """What both clients are reduced to."""

    def request(self, method: str, target: str, body: Any, timeout: float | None) -> tuple[int, Any]: ...

    def bulk(self, actions: Sequence[Mapping[str, Any]]) -> list[tuple[bool, dict[str, Any]]]: ...

    def close(self) -> None: ...


def read_secret(value: str | None, variable: str) -> str | None:
    """Return a secret: ``value`` itself, the first line of the file that ``@FILE`` names, or an environment variable.

    Raises :class:`InputError` when the file cannot be read or holds nothing.
    """
    if value is None:
        return os.environ.get(variable) or None
    if not value.startswith("@"):
        return value
    name = value[1:]
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise InputError(f"{name}: {reason}") from None
    if not lines or not lines[0].strip():
        raise InputError(f"{name}: holds no secret on its first line")
    return lines[0].strip()


def connection(
    url: str,
    *,
    api_key: str | None = None,
    user: str | None = None,
    password: str | None = None,
    ca_cert: str | None = None,
    cert_fingerprint: str | None = None,
    insecure: bool = False,
    timeout: float = 30.0,
) -> Connection:
    """Return a checked :class:`Connection`.

    ``api_key``, ``user`` and ``password`` may be ``@FILE``; where they are None, ``ALLOCFAIL_API_KEY``,
    ``ALLOCFAIL_USER`` and ``ALLOCFAIL_PASSWORD`` are looked up. An API key is what the server handed out: the
    ``encoded`` form, or ``id:api_key``. ``timeout`` is in seconds. Raises :class:`InputError` on a URL, fingerprint or
    combination that cannot work.
    """
    parts, plain = _split_url(url)
    key = read_secret(api_key, "ALLOCFAIL_API_KEY") if user is None and password is None else None
    name = read_secret(user, "ALLOCFAIL_USER") or (unquote(parts.username) if parts.username else None)
    word = read_secret(password, "ALLOCFAIL_PASSWORD") or (unquote(parts.password) if parts.password else None)
    if api_key is not None and (user is not None or password is not None):
        raise InputError("give an API key or a user with a password, not both")
    if (name is None) != (word is None) and key is None:
        raise InputError("a user needs a password and a password a user (ALLOCFAIL_USER, ALLOCFAIL_PASSWORD)")

    authorization: str | None = None
    secrets: tuple[str, ...] = ()
    if key is not None:
        encoded = base64.b64encode(key.encode()).decode() if ":" in key else key
        authorization = f"ApiKey {encoded}"
        secrets = (encoded, key, key.partition(":")[2])
    elif name is not None and word is not None:
        encoded = base64.b64encode(f"{name}:{word}".encode()).decode()
        authorization = f"Basic {encoded}"
        secrets = (encoded, word)
    if authorization is not None and not (authorization.isascii() and authorization.isprintable()):
        raise InputError("the API key holds characters that no API key has")

    fingerprint = None
    if cert_fingerprint is not None:
        fingerprint = cert_fingerprint.replace(":", "").strip().lower()
        if len(fingerprint) != 64 or set(fingerprint) - set("0123456789abcdef"):
            raise InputError("a certificate's fingerprint is its SHA-256: 64 hex digits, with or without colons")
    if ca_cert is not None and not Path(ca_cert).is_file():
        raise InputError(f"{ca_cert}: no such file")
    return Connection(plain, authorization, tuple(filter(None, secrets)), ca_cert, fingerprint, insecure, timeout)


def _split_url(url: str) -> tuple[SplitResult, str]:
    """Return a URL's parts, and the URL without user and password and with its port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError("the URL cannot be read: write http://HOST:PORT or https://HOST:PORT") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise InputError("the URL must look like http://HOST:PORT or https://HOST:PORT, with a path at most")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if parts.scheme == "https" else 80
    return parts, f"{parts.scheme}://{host}:{port or default}{parts.path.rstrip('/')}"


def path(*segments: str) -> str:
    """Return a request path made of ``segments``, each quoted."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def connect(where: Connection) -> Engine:
    """Ask the server who it is and return an :class:`Engine` that talks to it with the product's own client.

    Raises :class:`UnreachableError` when nothing answers, :class:`EngineError` when what answers lets nobody in or is
    neither Elasticsearch 8 or later nor OpenSearch.
    """
    context = _tls_context(where)
    product, version = _ask_product(where, context)
    client: _Client
    if product == "elasticsearch":
        client = _Elasticsearch(where, context, int(version.partition(".")[0] or 9))
    else:
        client = _OpenSearch(where, context)
    return Engine(where, product, version, client)


class Engine:
    """A cluster: JSON in, JSON out, the same on both products. Use it as a context manager."""

    def __init__(self, where: Connection, product: str, version: str, client: _Client) -> None:
        """Take what :func:`connect` found out.

        ``product`` is ``elasticsearch`` or ``opensearch``; ``version`` is empty where the user may not see it.
        """
        self.where = where
        self.product = product
        self.version = version
        self._client = client

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self, method: str, target: str, body: Any = None, *, missing_ok: bool = False, timeout: float | None = None
    ) -> Any:
        """Send a request and return the answer's JSON.

        ``target`` is a path (see :func:`path`) with its query. ``missing_ok``: 404 is None, no error. ``timeout`` in
        seconds, for this request. Raises :class:`EngineError`, and :class:`UnreachableError` when no answer comes.
        """
        status, answer = self._client.request(method, target, body, timeout)
        if status == 404 and missing_ok:
            return None
        asked = f"{method} {target.partition('?')[0]}"
        if not 200 <= status < 300:
            raise api_error(self.where, status, answer, asked)
        if isinstance(answer, dict) and answer.get("acknowledged") is False:
            raise EngineError(f"{asked}: not every node of the cluster confirmed it in time; run the command again")
        return answer

    def bulk(self, actions: Sequence[Mapping[str, Any]]) -> list[BulkResult]:
        """Send one bulk request with the client's own helper, and return what became of each action, in order.

        ``actions`` are as both clients' helpers take them (``_op_type``, ``_index``, ``_id``, ``_source``). Nothing is
        retried here. Raises :class:`EngineError` when the request as a whole was refused.
        """
        results = []
        for ok, item in self._client.bulk(actions):
            ((_, info),) = item.items()
            error = info.get("error") or {}
            if not isinstance(error, dict):
                error = {"reason": str(error)}
            cause = error.get("caused_by") or {}
            reason = str(error.get("reason", ""))
            if isinstance(cause, dict) and cause.get("reason"):
                reason = f"{reason}: {cause['reason']}"
            status = int(info.get("status", 201 if ok else 500))
            results.append(BulkResult(status, str(error.get("type", "")), self.where.scrub(reason)))
        if len(results) != len(actions):
            raise EngineError(f"the bulk request held {len(actions)} documents and the answer {len(results)}")
        return results


def api_error(where: Connection, status: int, answer: Any, asked: str) -> EngineError:
    """Return the error for an HTTP status outside 2xx; ``asked`` is method and path."""
    kind, reason = "", ""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        causes = error.get("root_cause") or [error]
        cause = causes[0] if isinstance(causes, list) and isinstance(causes[0], dict) else error
        kind = str(cause.get("type") or error.get("type") or "")
        reason = str(cause.get("reason") or error.get("reason") or error.get("message") or "")
        deeper = error.get("caused_by")
        for _ in range(4):  # the innermost cause says what is wrong, the outer ones where
            if not isinstance(deeper, dict):
                break
            if deeper.get("reason") and str(deeper["reason"]) not in reason:
                reason += f": {deeper['reason']}"
            deeper = deeper.get("caused_by")
    elif isinstance(error, str):
        reason = error
    reason = where.scrub(reason)
    if status == 401:
        given = "the credentials were refused" if where.authorization else "it wants credentials: an API key, or a user"
        message = f"{where.url}: not signed in: {given}"
    elif status == 403:
        message = f"{where.url}: not allowed: {_privilege(reason) or reason or 'no reason given'} ({asked})"
    else:
        message = f"{where.url}: {asked}: {reason or 'HTTP status'} ({status}{' ' + kind if kind else ''})"
    return EngineError(where.scrub(message), status=status, kind=kind, reason=reason)


def _privilege(reason: str) -> str:
    """Return which privilege is missing, from the words of either product's security; empty where they don't say."""
    for level in ("cluster", "index"):
        # Elasticsearch ends with: this action is granted by the cluster privileges [manage_pipeline,manage,all]
        _, found, rest = reason.partition(f"granted by the {level} privileges [")
        if found:
            return f"the {level} privilege {rest.partition(']')[0].partition(',')[0]} is missing"
    # OpenSearch begins with: no permissions for [cluster:admin/ingest/pipeline/put] and User [name=...
    _, found, rest = reason.partition("no permissions for [")
    return f"the permission {rest.partition(']')[0]} is missing" if found else ""


def http_pool(where: Connection) -> urllib3.PoolManager:
    """Return a pool of HTTP connections with the TLS settings of ``where``, for what no client covers."""
    return _pool(where, _tls_context(where))


def _pool(where: Connection, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    import urllib3  # noqa: PLC0415 - start-up of commands that talk to no cluster

    return urllib3.PoolManager(timeout=where.timeout, retries=False, ssl_context=context)


def unreachable(where: Connection, error: BaseException) -> UnreachableError:
    """Return the error, in one line for a person, for a connection that failed."""
    texts, seen = [], 0
    current: BaseException | None = error
    while current is not None and seen < 6:
        texts.append(f"{type(current).__name__} {current}")
        reason = getattr(current, "reason", None)
        current = reason if isinstance(reason, BaseException) else (current.__cause__ or current.__context__)
        seen += 1
    everything = " ".join(texts)
    table = (
        ("WRONG_VERSION_NUMBER", "it does not speak TLS there: is it http:// instead of https://?"),
        ("RECORD_LAYER_FAILURE", "it does not speak TLS there: is it http:// instead of https://?"),
        ("packet length too long", "it does not speak TLS there: is it http:// instead of https://?"),
        ("Hostname mismatch", "the certificate is for another host name"),
        ("doesn't match", "the certificate is for another host name"),
        ("IP address mismatch", "the certificate is for another address"),
        ("self-signed", "the certificate is signed by an authority that is not known here: give --ca-cert"),
        ("self signed", "the certificate is signed by an authority that is not known here: give --ca-cert"),
        ("unable to get local issuer", "the certificate is signed by an authority not known here: give --ca-cert"),
        ("certificate has expired", "the certificate has expired"),
        ("CERTIFICATE_VERIFY_FAILED", "the certificate could not be verified"),
        ("NameResolutionError", "the host name is not known"),
        ("Name or service not known", "the host name is not known"),
        ("nodename nor servname", "the host name is not known"),
        ("Connection refused", "nothing listens there (connection refused)"),
        ("Network is unreachable", "the network is unreachable"),
        ("No route to host", "there is no route to the host"),
        ("timed out", f"no answer within {where.timeout:g} s"),
        ("Timeout", f"no answer within {where.timeout:g} s"),
        ("RemoteDisconnected", "it closed the connection without an answer: is it https:// instead of http://?"),
        ("Connection reset", "it closed the connection without an answer: is it https:// instead of http://?"),
        ("Connection aborted", "it closed the connection without an answer: is it https:// instead of http://?"),
        ("BadStatusLine", "what listens there does not speak HTTP"),
    )
    for needle, words in table:
        if needle in everything:
            return UnreachableError(f"{where.url}: {words}")
    return UnreachableError(f"{where.url}: {where.scrub(str(error)) or type(error).__name__}")


def _tls_context(where: Connection) -> ssl.SSLContext | None:
    """Return how the server's certificate is checked; None for plain HTTP.

    A pinned fingerprint may be of the server's own certificate or of an authority that the server sends along; the
    certificate that has it becomes the only one trusted, so that the library verifies the chain up to it.
    """
    if not where.url.startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if where.insecure or where.cert_fingerprint is not None:
        context.check_hostname = False
    if where.insecure:
        import urllib3  # noqa: PLC0415 - see _pool

        context.verify_mode = ssl.CERT_NONE
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for, and is said once
    elif where.cert_fingerprint is not None:
        context.load_verify_locations(cadata=_pinned(where, where.cert_fingerprint))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    elif where.ca_cert is not None:
        try:
            context.load_verify_locations(cafile=where.ca_cert)
        except (ssl.SSLError, OSError):
            raise InputError(f"{where.ca_cert}: holds no certificate in PEM form") from None
    else:
        context.load_default_certs()
        if not context.cert_store_stats()["x509_ca"]:
            with suppress(ImportError):
                import certifi  # noqa: PLC0415 - only where the system has no store; both clients bring it

                context.load_verify_locations(cafile=certifi.where())
    return context


def _pinned(where: Connection, fingerprint: str) -> bytes:
    """Return, in DER form, the certificate of the server's chain that has this SHA-256."""
    import hashlib  # noqa: PLC0415 - only with a fingerprint

    parts = urlsplit(where.url)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE  # nothing is believed yet: only looked at
    try:
        with (
            socket.create_connection((str(parts.hostname), int(parts.port or 443)), timeout=where.timeout) as plain,
            asking.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            # Public from Python 3.13 on; before, the same method stands one object deeper.
            holder = secure if hasattr(secure, "get_unverified_chain") else secure._sslobj  # type: ignore[attr-defined] # noqa: SLF001
            chain = holder.get_unverified_chain() or []
    except OSError as error:
        raise unreachable(where, error) from None
    for certificate in chain:
        data = certificate if isinstance(certificate, bytes) else certificate.public_bytes(2)  # 2: DER
        if hashlib.sha256(data).hexdigest() == fingerprint:
            return bytes(data)
    raise UnreachableError(f"{where.url}: no certificate that it shows has the fingerprint given")


def _ask_product(where: Connection, context: ssl.SSLContext | None) -> tuple[str, str]:
    """Return product and version, as the root endpoint names them."""
    import urllib3  # noqa: PLC0415 - see _pool

    headers = {"accept": "application/json", **({"authorization": where.authorization} if where.authorization else {})}
    try:
        answer = _pool(where, context).request("GET", where.url + "/", headers=headers, redirect=False)
    except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        raise unreachable(where, error) from None
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    if answer.status == 403:
        # Whoever may only write is not told the version; the words of the refusal are each product's own.
        if "is granted by the cluster privileges [" in str(body):
            return "elasticsearch", ""
        if "no permissions for [cluster:monitor/main]" in str(body):
            return "opensearch", ""
    if answer.status in {401, 403}:
        raise api_error(where, answer.status, body, "GET /")
    version = body.get("version") if isinstance(body, dict) else None
    if answer.status != 200 or not isinstance(version, dict) or not isinstance(version.get("number"), str):
        raise EngineError(
            f"{where.url}: neither Elasticsearch nor OpenSearch answers there (HTTP status {answer.status})",
            status=answer.status,
        )
    number = where.scrub(version["number"])
    major = int(number.partition(".")[0]) if number.partition(".")[0].isdigit() else 0
    if version.get("distribution") == "opensearch":
        return "opensearch", number
    if major < 8:  # the client needs the media types that 8.0 brought in
        raise EngineError(
            f"{where.url}: version {number} is too old for the client: needs Elasticsearch 8, OpenSearch 1, or later; "
            "`allocfail pipelines build` writes the pipelines as files"
        )
    return "elasticsearch", number


class _Elasticsearch:
    """The client of one product, behind :class:`_Client`."""

    def __init__(self, where: Connection, context: ssl.SSLContext | None, major: int) -> None:
        import elastic_transport  # noqa: PLC0415 - the client is only loaded for its product
        import elasticsearch  # noqa: PLC0415
        from elastic_transport.client_utils import DEFAULT  # noqa: PLC0415
        from elasticsearch import helpers  # noqa: PLC0415

        class Node(elastic_transport.Urllib3HttpNode):
            """Speaks to a server one major version older in that version's media type."""

            def perform_request(
                self, method: str, target: str, body: Any = None, headers: Any = None, request_timeout: Any = DEFAULT
            ) -> Any:
                if headers and major < 9:
                    headers = headers.copy()
                    for name in ("accept", "content-type"):
                        if name in headers:
                            headers[name] = headers[name].replace("compatible-with=9", f"compatible-with={major}")
                return super().perform_request(method, target, body, headers, request_timeout)

        self._where = where
        self._transport_errors = (elastic_transport.TransportError,)
        self._api_error = elasticsearch.ApiError
        self._warning = elasticsearch.ElasticsearchWarning
        self._helpers = helpers
        more: dict[str, Any] = {"ssl_context": context} if context is not None else {}
        if where.authorization:
            more["headers"] = {"authorization": where.authorization}
        self._client = elasticsearch.Elasticsearch(
            where.url, node_class=Node, request_timeout=where.timeout, max_retries=0, retry_on_timeout=False, **more
        )

    def request(self, method: str, target: str, body: Any, timeout: float | None) -> tuple[int, Any]:
        client = self._client if timeout is None else self._client.options(request_timeout=timeout)
        headers = {"accept": "application/json", **({} if body is None else {"content-type": "application/json"})}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)
            try:
                answer = client.perform_request(method, target, headers=headers, body=body)
            except self._api_error as error:
                return error.meta.status, error.body
            except self._transport_errors as error:
                raise unreachable(self._where, error.errors[0] if error.errors else error) from None
        return answer.meta.status, answer.body

    def bulk(self, actions: Sequence[Mapping[str, Any]]) -> list[tuple[bool, dict[str, Any]]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)
            try:
                return list(_send(self._helpers.streaming_bulk, self._client, actions))
            except self._api_error as error:
                raise api_error(self._where, error.meta.status, error.body, "POST /_bulk") from None
            except self._transport_errors as error:
                raise unreachable(self._where, error.errors[0] if error.errors else error) from None

    def close(self) -> None:
        self._client.close()


class _OpenSearch:
    """The client of the other product, behind :class:`_Client`."""

    def __init__(self, where: Connection, context: ssl.SSLContext | None) -> None:
        import opensearchpy  # noqa: PLC0415 - the client is only loaded for its product
        from opensearchpy import helpers  # noqa: PLC0415

        self._where = where
        self._error = opensearchpy.exceptions.TransportError
        self._no_connection = opensearchpy.exceptions.ConnectionError
        self._warning = opensearchpy.exceptions.OpenSearchWarning
        self._helpers = helpers
        parts = urlsplit(where.url)
        host = {"host": parts.hostname, "port": parts.port, "use_ssl": context is not None, "url_prefix": parts.path}
        more: dict[str, Any] = {"ssl_context": context} if context is not None else {}
        if where.authorization:
            more["headers"] = {"authorization": where.authorization}
        self._client = opensearchpy.OpenSearch(
            [host], timeout=where.timeout, max_retries=0, retry_on_timeout=False, **more
        )

    def request(self, method: str, target: str, body: Any, timeout: float | None) -> tuple[int, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)
            try:
                answer = self._client.transport.perform_request(
                    method, target, body=body, params={"request_timeout": timeout} if timeout is not None else None
                )
            except self._no_connection as error:
                raise unreachable(self._where, _cause(error)) from None
            except self._error as error:
                return self._refused(error)
        return 200, answer

    def _refused(self, error: Any) -> tuple[int, Any]:
        status = int(error.status_code) if str(error.status_code).isdigit() else 500
        return status, error.info if error.info is not None else {"error": str(error.error)}

    def bulk(self, actions: Sequence[Mapping[str, Any]]) -> list[tuple[bool, dict[str, Any]]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)
            try:
                return list(_send(self._helpers.streaming_bulk, self._client, actions))
            except self._no_connection as error:
                raise unreachable(self._where, _cause(error)) from None
            except self._error as error:
                status, answer = self._refused(error)
                raise api_error(self._where, status, answer, "POST /_bulk") from None

    def close(self) -> None:
        self._client.close()


def _cause(error: Any) -> BaseException:
    """Return what opensearch-py wrapped."""
    return error.info if isinstance(error.info, BaseException) else error


def _send(helper: Any, client: Any, actions: Sequence[Mapping[str, Any]]) -> Iterable[tuple[bool, dict[str, Any]]]:
    """Run either client's bulk helper as one request without retries: how to retry is decided in one place, above."""
    results: Iterable[tuple[bool, dict[str, Any]]] = helper(
        client,
        [dict(action) for action in actions],  # the helpers take keys out of what they are given
        chunk_size=max(1, len(actions)),
        max_chunk_bytes=1 << 40,
        raise_on_error=False,
        raise_on_exception=True,
        max_retries=0,
    )
    return results


def with_url(where: Connection, url: str) -> Connection:
    """Return the same credentials and TLS settings for another address of the same stack, such as its dashboards."""
    return replace(where, url=_split_url(url)[1])
