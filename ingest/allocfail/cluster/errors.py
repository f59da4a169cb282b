"""What a cluster refused, or why it cannot be reached, in one line for a person."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Any

from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.connection import Connection

__all__ = ["AnswerError", "EngineError", "UnreachableError", "api_error", "unreachable"]


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


class AnswerError(UnreachableError):
    """What answers is not the cluster: cut JSON, a proxy's page, another answer. Asking again may help.

    What was asked may have been done or not.
    """

    def __init__(self, where: Connection, asked: str, found: str) -> None:
        """Take who answered, method and path, and what there was instead of an answer."""
        super().__init__(f"{where.url}: {asked}: the answer is not the cluster's: {found}; is a proxy in between?")


def api_error(where: Connection, status: int, answer: Any, asked: str) -> EngineError:
    """Return the error for an HTTP status outside 2xx; ``asked`` is method and path."""
    kind, reason = _told(answer)
    reason = where.scrub(reason)
    if status == 401:
        given = "the credentials were refused" if where.authorization else "it wants credentials: an API key, or a user"
        message = f"{where.url}: not signed in: {given}"
    elif status == 403:
        message = f"{where.url}: not allowed: {_privilege(reason) or reason or 'no reason given'} ({asked})"
    else:
        message = f"{where.url}: {asked}: {reason or 'HTTP status'} ({status}{' ' + kind if kind else ''})"
    return EngineError(where.scrub(message), status=status, kind=kind, reason=reason)


def _told(answer: Any) -> tuple[str, str]:
    """Return type and reason of an error as either product's answer gives them."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, str):
        return "", "a page instead of an answer" if error.lstrip().startswith("<") else error
    if not isinstance(error, dict):
        return "", ""
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
    return kind, reason


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


def unreachable(where: Connection, error: BaseException) -> UnreachableError:
    """Return the error, in one line for a person, for a connection that failed."""
    told = next(filter(None, (_words(cause, where.timeout) for cause in _causes(error))), None)
    return UnreachableError(f"{where.url}: {told or where.scrub(str(error)) or type(error).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that stand behind one, the innermost first, and the error itself last."""
    chain: list[BaseException] = []
    waiting = [error]
    while waiting and len(chain) < 20:
        current = waiting.pop()
        if any(current is one for one in chain):
            continue
        chain.append(current)
        # urllib3 hands causes on as arguments and as `reason`, Python as `__cause__` and `__context__`.
        behind = [*current.args, getattr(current, "reason", None), current.__context__, current.__cause__]
        waiting += [one for one in behind if isinstance(one, BaseException)]
    yield from reversed(chain)


#: What OpenSSL found wrong with a certificate (X509_V_ERR_* of its x509_vfy.h) and what can be done.
_UNKNOWN_AUTHORITY = "the certificate is signed by an authority that is not known here: give --ca-cert"
_CERTIFICATE = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: _UNKNOWN_AUTHORITY,  # signed by itself
    19: _UNKNOWN_AUTHORITY,  # signed by itself, further up
    20: _UNKNOWN_AUTHORITY,  # no issuer
    21: _UNKNOWN_AUTHORITY,  # no issuer for the first
    62: "the certificate is for another host name",
    64: "the certificate is for another address",
}
_ERRNO = {
    errno.ECONNREFUSED: "nothing listens there (connection refused)",
    errno.ENETUNREACH: "the network is unreachable",
    errno.EHOSTUNREACH: "there is no route to the host",
}

#: What is wrong with an answer before it is one.
_HTTP = {
    http.client.IncompleteRead: "the answer is cut off",
    http.client.BadStatusLine: "what listens there does not speak HTTP",
}


def _words(error: BaseException, timeout: float) -> str | None:  # noqa: PLR0911 - a return for each kind of failure
    """Return what one error means to a person; None where it says nothing by itself."""
    import urllib3  # noqa: PLC0415 - start-up of commands that talk to no cluster

    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, f"the certificate could not be verified: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it closed the connection without a word of TLS: is it http:// instead of https://?"
    if isinstance(error, ssl.SSLError):
        # What answers does not speak TLS, or ends the handshake in its way: OpenSSL's name says which.
        alert = (error.reason or "").replace("_", " ").lower()
        plain = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
        if error.reason in plain:
            return "it does not speak TLS there: is it http:// instead of https://?"
        return f"TLS failed: {alert}" if alert else None
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "it closed the connection without an answer: is it https:// instead of http://?"
    if isinstance(error, urllib3.exceptions.DecodeError):
        return "the answer cannot be decompressed"
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0)
    return next((words for kind, words in _HTTP.items() if isinstance(error, kind)), None)
