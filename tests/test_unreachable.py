"""Why a cluster cannot be reached, in one line: a table of causes, the TLS ones from real handshakes."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from allocfail.cluster.client import connect
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import UnreachableError, unreachable
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = str(CERTIFICATES / "authority.pem")


@contextmanager
def shows(certificate: str) -> Iterator[str]:
    """Serve nothing but handshakes, with a certificate of ``certificates``; yield the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("certificate", "ca_cert", "words"),
    [
        ("expired", AUTHORITY, "the certificate has expired"),
        ("other", AUTHORITY, "the certificate is for another"),
        ("good", None, "signed by an authority"),
        ("good", str(CERTIFICATES / "other.pem"), "signed by an authority"),
    ],
)
def test_what_is_wrong_with_a_certificate(certificate: str, ca_cert: str | None, words: str) -> None:
    with shows(certificate) as url, pytest.raises(UnreachableError, match=words) as caught:
        connect(connection(url, ca_cert=ca_cert, timeout=5))
    assert ("give --ca-cert" in str(caught.value)) == (words == "signed by an authority")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(url)


def test_a_certificate_that_is_right_gets_as_far_as_http() -> None:
    with shows("good") as url, pytest.raises(UnreachableError) as caught:
        connect(connection(url, ca_cert=AUTHORITY, timeout=5))
    assert "certificate" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EHOSTUNREACH, "there is no route to the host"),
        (errno.ENETUNREACH, "the network is unreachable"),
        (errno.ECONNREFUSED, "nothing listens there"),
    ],
)
def test_what_the_network_says(number: int, words: str) -> None:
    where = connection("http://127.0.0.1:9")
    error = RuntimeError("while connecting")
    error.__cause__ = OSError(number, os.strerror(number))
    assert words in str(unreachable(where, error))


@pytest.mark.parametrize("content", ["", "\n", "   \nsecret\n"])
@pytest.mark.parametrize("option", ["api_key", "password"])
def test_a_file_without_a_secret_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, content: str
) -> None:
    for name in ("ALLOCFAIL_API_KEY", "ALLOCFAIL_USER", "ALLOCFAIL_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "secret"
    file.write_text(content)
    with pytest.raises(InputError, match=r"secret: holds no secret on its first line") as caught:
        connection("http://h:9200", **({"user": "me"} if option == "password" else {}), **{option: f"@{file}"})
    assert "\n" not in str(caught.value)
