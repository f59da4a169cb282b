"""How the server's certificate is checked."""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from allocfail.cluster.errors import UnreachableError, unreachable
from allocfail.errors import InputError

if TYPE_CHECKING:
    from allocfail.cluster.connection import Connection

__all__ = ["Trust", "trust"]


class Trust(NamedTuple):
    """Which certificate is believed; what both clients and urllib3 take."""

    context: ssl.SSLContext | None
    """None for plain HTTP."""
    fingerprint: str | None = None
    """SHA-256 in hex that the server's own certificate must have: the library compares it in each handshake."""


def trust(where: Connection) -> Trust:
    """Return how the certificate of the server at ``where`` is checked.

    A pinned fingerprint may be of the server's own certificate, or of an authority that the server sends along; the
    latter becomes the only one trusted, so that the library verifies the chain up to it. Raises :class:`InputError`
    for a file that holds no certificate, and :class:`UnreachableError` where a fingerprint is given and nothing in the
    server's chain has it.
    """
    if not where.url.startswith("https:"):
        return Trust(None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if where.insecure:
        import urllib3  # noqa: PLC0415 - start-up of commands that talk to no cluster

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for, and is said once
        return Trust(_unchecked(context))
    if where.cert_fingerprint is not None:
        return _pinned(where, where.cert_fingerprint, context)
    if where.ca_cert is not None:
        try:
            context.load_verify_locations(cafile=where.ca_cert)
        except (ssl.SSLError, OSError):
            raise InputError(f"{where.ca_cert}: holds no certificate in PEM form") from None
        return Trust(context)
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"]:
        with suppress(ImportError):
            import certifi  # noqa: PLC0415 - only where the system has no store; both clients bring it

            context.load_verify_locations(cafile=certifi.where())
    return Trust(context)


def _unchecked(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _pinned(where: Connection, fingerprint: str, context: ssl.SSLContext) -> Trust:
    """Return the trust in the one certificate of the server's chain that has this SHA-256."""
    own, chain = _shown(where)
    if hashlib.sha256(own).hexdigest() == fingerprint:
        return Trust(_unchecked(context), fingerprint)
    for certificate in chain:
        if hashlib.sha256(certificate).hexdigest() == fingerprint:
            context.check_hostname = False
            context.load_verify_locations(cadata=certificate)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return Trust(context)
    raise UnreachableError(f"{where.url}: no certificate that it shows has the fingerprint given")


def _shown(where: Connection) -> tuple[bytes, list[bytes]]:
    """Return the server's own certificate and all that it sends, in DER form; nothing of it is believed yet."""
    parts = urlsplit(where.url)
    asking = _unchecked(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    try:
        with (
            socket.create_connection((str(parts.hostname), int(parts.port or 443)), timeout=where.timeout) as plain,
            asking.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b"", _chain(secure)
    except OSError as error:
        raise unreachable(where, error) from None


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    # Public from Python 3.13 on; before, the same method stands one object deeper.
    holder: Any = secure if hasattr(secure, "get_unverified_chain") else secure._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    chain = holder.get_unverified_chain() or []
    return [one if isinstance(one, bytes) else bytes(one.public_bytes(2)) for one in chain]  # 2: DER
