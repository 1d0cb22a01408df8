"""The sender over TLS: which certificates it accepts, and HTTP/2 where it is offered."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deliveries.pipeline.settling import pg_safe
from deliveries.policy.outcomes import NoResponse
from deliveries.sending import ssrf
from deliveries.sending.exchange import Request, Response
from deliveries.sending.sender import Sender
from tests.certificates import DAY, Identity
from tests.integration.test_sender import LATE, SOON, a_request, exchange, exchange_all, kind_of, status_of
from tests.receiver import Receiver, refusing_port

pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")

LOOPBACK = ssrf.Policy(allows_loopback=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.make(tmp_path_factory.mktemp("ca") / "ca.pem", "Our Authority")


@pytest.fixture
def secure_sender(authority: Identity) -> Iterator[Sender]:
    """Return a sender that trusts the test authority."""
    made = Sender(slots=8, policy=LOOPBACK, certificates=str(authority.path))
    yield made
    made.close()


Make = Callable[[Path, Identity], Identity]
# How each certificate is made, a word of the error, and the cause.
IDENTITIES: dict[str, tuple[Make, str | None, str | None]] = {
    "vouched for": (lambda path, ca: Identity.make(path, "receiver", issuer=ca, address="127.0.0.1"), None, None),
    "self-signed": (
        lambda path, ca: Identity.make(path, "receiver", address="127.0.0.1"),
        "self-signed",
        "certificate_untrusted",
    ),
    "another address": (
        lambda path, ca: Identity.make(path, "receiver", issuer=ca, address="127.0.0.2"),
        "127.0.0.1",
        "certificate_for_other_name",
    ),
    "no address": (
        lambda path, ca: Identity.make(path, "127.0.0.1.example", issuer=ca),
        "127.0.0.1",
        "certificate_for_other_name",
    ),
    "expired": (
        lambda path, ca: Identity.make(path, "receiver", issuer=ca, address="127.0.0.1", expired=True),
        "expired on 20",
        "certificate_expired",
    ),
    "not valid yet": (
        lambda path, ca: Identity.make(path, "receiver", issuer=ca, address="127.0.0.1", valid_from=DAY / 2),
        "not yet valid",
        "certificate_invalid",
    ),
    "a strange authority": (
        lambda path, ca: Identity.make(
            path, "receiver", issuer=Identity.make(path.with_name("other.pem"), "Other"), address="127.0.0.1"
        ),
        "issuer",
        "certificate_untrusted",
    ),
}


@pytest.mark.parametrize(("make", "reason", "cause"), IDENTITIES.values(), ids=IDENTITIES)
def test_only_a_certificate_that_is_vouched_for_valid_and_of_that_name_is_believed(
    secure_sender: Sender, authority: Identity, tmp_path: Path, make: Make, reason: str | None, cause: str | None
) -> None:
    identity = make(tmp_path / "receiver.pem", authority)
    with Receiver(tls=identity.server_context()) as receiver:
        found = exchange(secure_sender, a_request(receiver.url(), timeout=LATE))

        if reason is None:
            assert status_of(found) == 200
        else:
            assert isinstance(found.result, NoResponse)
            assert (found.result.kind, found.result.cause) == ("tls", cause)
            assert reason in found.result.error
            assert receiver.received == []


@pytest.mark.parametrize("make", [make for make, *_ in IDENTITIES.values()], ids=IDENTITIES)
def test_who_asked_not_to_verify_gets_every_certificate_and_no_more_than_that(
    secure_sender: Sender, authority: Identity, tmp_path: Path, make: Make
) -> None:
    identity = make(tmp_path / "receiver.pem", authority)
    with Receiver(tls=identity.server_context()) as receiver:
        careless = a_request(receiver.url(), timeout=LATE, verify_ssl=False)
        careful = a_request(receiver.url(), timeout=LATE)

        assert status_of(exchange(secure_sender, careless)) == 200
        # The open connection must not be reused for a webhook that requires verification.
        careful_one = exchange(secure_sender, careful)
        assert isinstance(careful_one.result, Response) == (make is IDENTITIES["vouched for"][0])
        assert status_of(exchange(secure_sender, careless)) == 200


def test_an_error_that_quotes_half_a_character_of_a_strange_name_can_be_stored(
    authority: Identity, secure_sender: Sender, tmp_path: Path
) -> None:
    for blanks in range(4):
        identity = Identity.make(tmp_path / f"{blanks}.pem", "x" * blanks + "🎉" * 70, issuer=authority)
        with Receiver(tls=identity.server_context()) as receiver:
            found = exchange(secure_sender, a_request(receiver.url(), timeout=LATE))

            assert isinstance(found.result, NoResponse)
            assert (found.result.kind, found.result.cause) == ("tls", "certificate_for_other_name")
            assert "🎉🎉" in pg_safe(found.result.error)
            pg_safe(found.result.error).encode()


def test_the_deadline_covers_a_handshake_that_never_ends(secure_sender: Sender) -> None:
    with Receiver() as receiver:
        receiver.greeting = lambda connection: receiver.closing.wait(60)  # type: ignore[assignment, return-value]

        found = exchange(secure_sender, a_request(receiver.url().replace("http", "https"), timeout=SOON))

    assert kind_of(found) == "timeout"
    assert SOON <= found.duration < LATE


@pytest.mark.parametrize(
    "rubbish", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\0" * 100, b""]
)
def test_what_does_not_speak_tls_is_a_failure(secure_sender: Sender, rubbish: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(rubbish)

    with Receiver() as receiver:
        receiver.greeting = answer

        found = exchange(secure_sender, a_request(receiver.url().replace("http", "https"), timeout=LATE))

    assert kind_of(found) in {"tls", "protocol"}


def test_old_versions_of_tls_are_not_spoken(secure_sender: Sender, authority: Identity, tmp_path: Path) -> None:
    context = Identity.make(tmp_path / "r.pem", "r", issuer=authority, address="127.0.0.1").server_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with Receiver(tls=context) as receiver:
        assert kind_of(exchange(secure_sender, a_request(receiver.url(), timeout=LATE))) in {"tls", "protocol"}
        assert receiver.received == []


def test_an_answer_that_comes_unasked_on_an_idle_connection_is_not_taken_over_tls_either(
    secure_sender: Sender, authority: Identity, tmp_path: Path
) -> None:
    context = Identity.make(tmp_path / "r.pem", "r", issuer=authority, address="127.0.0.1").server_context()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    may_speak, has_spoken = threading.Event(), threading.Event()

    def speak_unasked(raw: socket.socket) -> None:
        with context.wrap_socket(raw, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(answer + b"\r\n")
            # Sent separately, because data that OpenSSL has already read cannot be detected from outside.
            assert may_speak.wait(60)
            connection.sendall(answer + b"X-Unasked: 1\r\n\r\n")
            has_spoken.set()
            receiver.closing.wait(60)

    with Receiver() as receiver:
        receiver.greeting = speak_unasked
        url = receiver.url().replace("http", "https")
        assert status_of(exchange(secure_sender, a_request(url))) == 200
        may_speak.set()
        assert has_spoken.wait(60)

        found = exchange(secure_sender, a_request(url))

        assert isinstance(found.result, Response)
        assert found.result.header("x-unasked") is None


def test_a_tls_connection_is_used_again(secure_sender: Sender, authority: Identity, tmp_path: Path) -> None:
    identity = Identity.make(tmp_path / "r.pem", "r", issuer=authority, address="127.0.0.1")
    with Receiver(tls=identity.server_context()) as receiver:
        assert [status_of(exchange(secure_sender, a_request(receiver.url()))) for _ in range(20)] == [200] * 20

        assert receiver.connections <= 2


# HTTP/2 --------------------------------------------------------------------------------------------------------------


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def http2(authority: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of an independent server that offers HTTP/2 over TLS."""
    home = tmp_path_factory.mktemp("http2")
    identity = Identity.make(home / "receiver.pem", "receiver", issuer=authority, address="127.0.0.1")
    with refusing_port() as port:
        pass
    server = subprocess.Popen(
        [
            Path(sys.executable).with_name("granian"), "--interface", "asgi", "--host", "127.0.0.1",
            "--port", str(port), "--ssl-certificate", identity.path, "--ssl-keyfile", identity.path,
            "--no-access-log", "--log-level", "error", "tests.http2_receiver:app",
        ],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not listens(port):
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield f"https://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def test_http_2_is_spoken_where_it_is_offered(secure_sender: Sender, http2: str) -> None:
    request = Request(f"{http2}/", (("webhook-id", "abc"), ("X-Empty", "")), b"x" * 2**20, LATE)

    found = exchange(secure_sender, request)

    assert isinstance(found.result, Response)
    assert (found.result.status, found.result.body) == (202, b"HTTP/2 1048576 abc")
    assert found.result.header("retry-after") == "7"


def test_many_at_once_over_http_2_each_get_their_own_answer(secure_sender: Sender, http2: str) -> None:
    for _ in range(5):
        requests = [
            Request(f"{http2}/{400 + n}", (("webhook-id", str(n)),), b"x" * n, timedelta(seconds=10)) for n in range(8)
        ]

        found = exchange_all(secure_sender, requests)

        for n, one in enumerate(found):
            assert isinstance(one.result, Response)
            assert (one.result.status, one.result.body) == (400 + n, f"HTTP/2 {n} {n}".encode())


def test_http_2_is_guarded_like_everything_else(authority: Identity, http2: str) -> None:
    strict = Sender(slots=1, policy=ssrf.Policy(), certificates=str(authority.path))

    assert kind_of(exchange(strict, a_request(f"{http2}/"))) == "forbidden"
    strict.close()
