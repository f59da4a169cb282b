"""One way to talk to a cluster, over the client that belongs to its product.

The server's root endpoint says which product it is; then that product's own client does the talking. Everything
above this module sees paths, JSON and :class:`EngineError`, the same for both.
"""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, Self
from urllib.parse import quote, urlsplit

from allocfail.cluster.answers import CUT, NoAnswerError, RefusalError, check
from allocfail.cluster.errors import AnswerError, EngineError, api_error, unreachable
from allocfail.cluster.products import recognise
from allocfail.cluster.statuses import passes
from allocfail.cluster.tls import Trust, trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import urllib3

    from allocfail.cluster.connection import Connection

    Waiting = Callable[[], AbstractContextManager[None]]

__all__ = ["BulkResult", "Engine", "connect", "http_pool", "path"]


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


class _Answer(dict[str, Any]):
    """An answer's JSON object: what every answer to such a request has, and this one has not, is one line."""

    def __init__(self, found: dict[str, Any], where: Connection, asked: str) -> None:
        super().__init__(found)
        self._where = where
        self._asked = asked

    def __missing__(self, name: str) -> NoReturn:
        raise AnswerError(self._where, self._asked, f"JSON without {name}")


def path(*segments: str) -> str:
    """Return a request path made of ``segments``, each quoted."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def connect(where: Connection, waiting: Waiting = nullcontext) -> Engine:
    """Ask the server who it is and return an :class:`Engine` that talks to it with the product's own client.

    Every answer is waited for within ``waiting``, which may end that.
    Raises :class:`UnreachableError` when nothing answers, :class:`EngineError` when what answers lets nobody in or is
    neither Elasticsearch 8 or later nor OpenSearch.
    """
    believed = trust(where)
    with waiting():
        product, version = _ask_product(where, believed)
    client: _Client
    if product == "elasticsearch":
        client = _Elasticsearch(where, believed, int(version.partition(".")[0] or 9))
    else:
        client = _OpenSearch(where, believed)
    return Engine(where, product, version, client, waiting)


class Engine:
    """A cluster: JSON in, JSON out, the same on both products. Use it as a context manager."""

    def __init__(
        self, where: Connection, product: str, version: str, client: _Client, waiting: Waiting = nullcontext
    ) -> None:
        """Take what :func:`connect` found out.

        ``product`` is ``elasticsearch`` or ``opensearch``; ``version`` is empty where the user may not see it.
        """
        self.where = where
        self.product = product
        self.version = version
        self._client = client
        self._waiting = waiting

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
        seconds, for this request. Raises :class:`EngineError`, :class:`UnreachableError` when no answer comes, and
        :class:`AnswerError` when what comes with a good status is no JSON.
        """
        asked = f"{method} {target.partition('?')[0]}"
        try:
            with self._waiting():
                status, answer = self._client.request(method, target, body, timeout)
        except NoAnswerError as found:
            raise AnswerError(self.where, asked, str(found)) from None
        except RecursionError:
            raise AnswerError(self.where, asked, CUT) from None
        if status == 404 and missing_ok:
            return None
        if not 200 <= status < 300:
            raise api_error(self.where, status, answer, asked)
        if not isinstance(answer, dict | list):
            raise AnswerError(self.where, asked, "no JSON")
        if isinstance(answer, dict) and answer.get("acknowledged") is False:
            raise EngineError(f"{asked}: not every node of the cluster confirmed it in time; run the command again")
        return _Answer(answer, self.where, asked) if isinstance(answer, dict) else answer

    def bulk(self, actions: Sequence[Mapping[str, Any]]) -> list[BulkResult]:
        """Send one bulk request with the client's own helper, and return what became of each action, in order.

        ``actions`` are as both clients' helpers take them (``_op_type``, ``_index``, ``_id``, ``_source``). Nothing is
        retried here. Raises :class:`EngineError` when the request as a whole was refused, and :class:`AnswerError`
        when the answer does not say what became of each: some of them may have been indexed.
        """
        try:
            with self._waiting():
                results = [self._result(ok, item) for ok, item in self._client.bulk(actions)]
        except NoAnswerError as found:
            raise AnswerError(self.where, "POST /_bulk", str(found)) from None
        except RecursionError:
            raise AnswerError(self.where, "POST /_bulk", CUT) from None
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            raise AnswerError(self.where, "POST /_bulk", "JSON without what became of each document") from None
        if len(results) != len(actions):
            raise AnswerError(self.where, "POST /_bulk", f"{len(results)} results for {len(actions)} documents")
        return results

    def _result(self, ok: bool, item: Mapping[str, Any]) -> BulkResult:  # noqa: FBT001 - the helpers' own pair
        ((_, info),) = item.items()
        error = info.get("error") or {}
        if not isinstance(error, dict):
            error = {"reason": str(error)}
        cause = error.get("caused_by") or {}
        reason = str(error.get("reason", ""))
        if isinstance(cause, dict) and cause.get("reason"):
            reason = f"{reason}: {cause['reason']}"
        status = int(info.get("status", 201 if ok else 500))
        return BulkResult(status, str(error.get("type", "")), self.where.scrub(reason))


def http_pool(where: Connection) -> urllib3.PoolManager:
    """Return a pool of HTTP connections with the TLS settings of ``where``, for what no client covers."""
    return _pool(where, trust(where))


def _pool(where: Connection, believed: Trust) -> urllib3.PoolManager:
    import urllib3  # noqa: PLC0415 - start-up of commands that talk to no cluster

    return urllib3.PoolManager(
        timeout=where.timeout, retries=False, ssl_context=believed.context, assert_fingerprint=believed.fingerprint
    )


def _tls_options(believed: Trust) -> dict[str, Any]:
    """Return what both clients are told about certificates."""
    options: dict[str, Any] = {} if believed.context is None else {"ssl_context": believed.context}
    return options | ({"ssl_assert_fingerprint": believed.fingerprint} if believed.fingerprint else {})


def _ask_product(where: Connection, believed: Trust) -> tuple[str, str]:
    """Return product and version, as the root endpoint names them."""
    import urllib3  # noqa: PLC0415 - see _pool

    headers = {"accept": "application/json", **({"authorization": where.authorization} if where.authorization else {})}
    try:
        answer = _pool(where, believed).request("GET", where.url + "/", headers=headers, redirect=False)
    except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        raise unreachable(where, error) from None
    try:
        body = json.loads(answer.data)
    except (ValueError, RecursionError):
        body = answer.data.decode("utf-8", "replace")
    found = recognise(answer.status, body)
    if found is None and (answer.status in {401, 403} or passes(answer.status)):
        raise api_error(where, answer.status, body, "GET /")
    if found is None:
        raise EngineError(
            f"{where.url}: neither Elasticsearch nor OpenSearch answers there (HTTP status {answer.status})",
            status=answer.status,
        )
    product, version = found[0], where.scrub(found[1])
    major = version.partition(".")[0]
    if version and (not major.isdigit() or int(major) < product.oldest):
        raise EngineError(
            f"{where.url}: version {version} is too old for the client: needs Elasticsearch 8, OpenSearch 1, or later; "
            f"`allocfail pipelines build --engine {product.name} --for {version}` writes the pipelines as files"
        )
    return product.name, version


#: An answer whose header ``x-elastic-product`` is missing, without which the client does not take it.
_UNMARKED = "JSON without the header by which Elasticsearch is known"


class _Elasticsearch:
    """The client of one product, behind :class:`_Client`."""

    def __init__(self, where: Connection, believed: Trust, major: int) -> None:
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
                answer = super().perform_request(method, target, body, headers, request_timeout)
                if method != "HEAD":
                    check(answer.meta.status, answer.meta.headers.get("content-type"), answer.body)
                return answer

        self._where = where
        self._damaged = elastic_transport.SerializationError
        self._unmarked = elasticsearch.UnsupportedProductError
        self._transport_errors = (elastic_transport.TransportError,)
        self._api_error = elasticsearch.ApiError
        self._warning = elasticsearch.ElasticsearchWarning
        self._helpers = helpers
        more = _tls_options(believed)
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
            except RefusalError as error:
                return error.status, error.text
            except self._damaged:
                raise NoAnswerError(CUT) from None
            except self._unmarked:
                raise NoAnswerError(_UNMARKED) from None
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
            except RefusalError as error:
                raise api_error(self._where, error.status, error.text, "POST /_bulk") from None
            except self._damaged:
                raise NoAnswerError(CUT) from None
            except self._unmarked:
                raise NoAnswerError(_UNMARKED) from None
            except self._api_error as error:
                raise api_error(self._where, error.meta.status, error.body, "POST /_bulk") from None
            except self._transport_errors as error:
                raise unreachable(self._where, error.errors[0] if error.errors else error) from None

    def close(self) -> None:
        self._client.close()


class _OpenSearch:
    """The client of the other product, behind :class:`_Client`."""

    def __init__(self, where: Connection, believed: Trust) -> None:
        import opensearchpy  # noqa: PLC0415 - the client is only loaded for its product
        from opensearchpy import helpers  # noqa: PLC0415

        class Node(opensearchpy.Urllib3HttpConnection):
            """Looks at answers before they are read."""

            def perform_request(self, method: str, *args: Any, **more: Any) -> Any:
                status, headers, data = super().perform_request(method, *args, **more)
                if method != "HEAD":
                    check(status, headers.get("content-type"), data)
                return status, headers, data

        self._where = where
        self._damaged = opensearchpy.exceptions.SerializationError
        self._error = opensearchpy.exceptions.TransportError
        self._no_connection = opensearchpy.exceptions.ConnectionError
        self._warning = opensearchpy.exceptions.OpenSearchWarning
        self._helpers = helpers
        parts = urlsplit(where.url)
        secure = believed.context is not None
        host = {"host": parts.hostname, "port": parts.port, "use_ssl": secure, "url_prefix": parts.path}
        more = _tls_options(believed)
        if where.authorization:
            more["headers"] = {"authorization": where.authorization}
        self._client = opensearchpy.OpenSearch(
            [host], connection_class=Node, timeout=where.timeout, max_retries=0, retry_on_timeout=False, **more
        )

    def request(self, method: str, target: str, body: Any, timeout: float | None) -> tuple[int, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._warning)
            try:
                answer = self._client.transport.perform_request(
                    method, target, body=body, params={"request_timeout": timeout} if timeout is not None else None
                )
            except self._damaged:
                raise NoAnswerError(CUT) from None
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
            except self._damaged:
                raise NoAnswerError(CUT) from None
            except self._no_connection as error:
                raise unreachable(self._where, _cause(error)) from None
            except self._error as error:
                status, answer = self._refused(error)
                raise api_error(self._where, status, answer, "POST /_bulk") from None

    def close(self) -> None:
        self._client.close()


def _cause(error: Any) -> BaseException:
    """Return what opensearch-py wrapped. Raises :class:`NoAnswerError` for an answer that is not UTF-8."""
    if isinstance(error.info, UnicodeDecodeError):
        check(200, None, error.info.object)
        raise NoAnswerError(CUT)
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
