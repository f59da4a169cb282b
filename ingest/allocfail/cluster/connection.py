"""Where a cluster is and how to get in: addresses and secrets, checked before anything is asked."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from allocfail.errors import InputError

__all__ = ["Connection", "connection", "read_secret", "with_url"]

#: Longest part of a server's own words that goes into a message, in characters.
_MAX_REASON = 400


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


def with_url(where: Connection, url: str) -> Connection:
    """Return the same credentials and TLS settings for another address of the same stack, such as its dashboards."""
    return replace(where, url=_split_url(url)[1])
