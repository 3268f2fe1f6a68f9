"""TLS handshakes of a worker: how each way to fail one ends, and that RTMP follows a good one."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.core.errors import CloseReason
from cluster.core.limits import Limits
from cluster.core.rtmp import events
from cluster.core.rtmp.client_session import ClientSession
from cluster.net.poller import READABLE
from cluster.net.tls_certificate import Certificate
from support.house import ENTROPY, URL, House, run_until, stepped_loop, tcp_pair
from support.tls import CertificateFiles, make_certificate

HANDSHAKE_TIMEOUT_S = 10.0
_PEER = ("192.0.2.7", 40_000)
#: The least that Linux gives a socket to send from; it doubles the value that is set.
_LEAST_SEND_BUFFER_BYTES = 2304


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(files: CertificateFiles) -> Certificate:
    return Certificate(files.cert, files.key)


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, max_connections=2, handshake_timeout_s=HANDSHAKE_TIMEOUT_S)
        yield made
        made.close()


class Scene:
    """A connection that was accepted on a TLS address, and the plain socket at its other end."""

    def __init__(self, house: House, certificate: Certificate) -> None:
        self.house = house
        accepted, self.plain = tcp_pair()
        self.accepted = accepted
        house.sessions.accept_tls(certificate, accepted, _PEER)

    def closes(self) -> dict[str, int]:
        return dict(self.house.counters.closes)

    def until_closed(self) -> dict[str, int]:
        run_until(self.house.loop, lambda: self.closes() and not len(self.house.sessions), "a close")
        return self.closes()

    def has_spoken(self) -> bool:
        (handshake,) = self.house.sessions._door._shaking
        return handshake.has_spoken

    def shake_hands(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """The peer's side; ours is served meanwhile."""
        self.plain.setblocking(False)
        peer = context.wrap_socket(self.plain, server_hostname="localhost", do_handshake_on_connect=False)
        self.plain = peer  # the plain one is taken over: this is what is to be closed

        def done() -> bool:
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.do_handshake()
                return True
            return False

        run_until(self.house.loop, done, "the handshake")
        return peer


@pytest.fixture
def scene(house: House, certificate: Certificate) -> Iterator[Scene]:
    made = Scene(house, certificate)
    yield made
    made.plain.close()


def test_rtmp_follows_the_handshake(scene: Scene, files: CertificateFiles) -> None:
    with scene.shake_hands(files.client_context()) as peer:
        session = ClientSession(limits=Limits(), entropy=ENTROPY, now=0.0, handshake="simple")
        session.start(URL)
        received: list[object] = []

        def connected() -> bool:
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.sendall(session.outgoing())
                received.extend(session.receive(peer.recv(65536), 0.0))
            return any(isinstance(event, events.ConnectSucceeded) for event in received)

        run_until(scene.house.loop, connected, "the answer to connect")
        assert scene.house.counters.connections == 1
        assert peer.version() == "TLSv1.3"
    run_until(scene.house.loop, scene.closes, "the close")
    assert scene.closes() == {"peer_closed": 1}


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"\x03" + bytes(1536), "not_tls", "use rtmps://, or rtmp:// at one of --bind"),
        (b"GET / HTTP/1.1\r\n\r\n", "not_tls", "use https://"),
        (b"nonsense", "not_tls", "0x6e"),
        (b"\x16\x03\x01\x00\x04nope", "tls_failed", ""),
        (b"", "peer_closed", "before"),
        (b"\x16\x03\x01\x02\x00\x01", "peer_closed", "during"),
    ],
    ids=["RTMP", "HTTP", "nonsense", "broken TLS", "nothing", "half a hello"],
)
def test_a_peer_that_does_not_speak_tls_ends_with_a_reason(
    scene: Scene, data: bytes, reason: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG" if not data else "INFO"):
        scene.plain.sendall(data)
        scene.plain.shutdown(socket.SHUT_WR)
        assert scene.until_closed() == {reason: 1}
    (line,) = [record.getMessage() for record in caplog.records if "closed:" in record.getMessage()]
    assert detail in line
    assert scene.house.counters.connections == 0


def test_plain_http_is_answered_so(scene: Scene) -> None:
    scene.plain.sendall(b"GET /live/x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert scene.until_closed() == {"not_tls": 1}
    answer = b"".join(iter(lambda: scene.plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n\r\n" in answer
    assert b"https://" in answer


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "peer_closed"), (b"\x16\x03\x01\x02\x00\x01", "peer_reset")]
)
def test_a_reset_is_a_fault_of_those_who_have_said_something(
    scene: Scene, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scene.plain.sendall(data)
    run_until(scene.house.loop, lambda: not data or scene.has_spoken(), "the first bytes")
    scene.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    scene.plain.close()
    assert scene.until_closed() == {reason: 1}
    assert ("closed:" in caplog.text) is bool(data), "a probe has no line"


def test_who_has_a_descriptor_that_was_ready_for_another_goes_on(
    scene: Scene, files: CertificateFiles
) -> None:
    """One is closed, and the next accepted, between the poller's question and the call of the handler."""
    (handshake,) = scene.house.sessions._door._shaking
    handshake._on_ready(READABLE)
    assert scene.closes() == {}
    scene.shake_hands(files.client_context()).close()


def test_a_goodbye_without_one_of_tls_is_no_fault(scene: Scene, files: CertificateFiles) -> None:
    peer = scene.shake_hands(files.client_context())
    peer.send(b"\x03")
    run_until(scene.house.loop, lambda: scene.house.counters.bytes_received, "the first byte")
    socket.socket.shutdown(peer, socket.SHUT_WR)  # SSLSocket's own would say goodbye first
    assert scene.until_closed() == {"peer_closed": 1}


def test_a_peer_that_does_not_trust_us_ends_as_tls_failed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(ssl.SSLCertVerificationError):
        scene.shake_hands(ssl.create_default_context())
    assert scene.until_closed() == {"tls_failed": 1}
    assert "UNKNOWN_CA: the peer does not trust --tls-cert" in caplog.text


def test_tls_1_1_is_not_spoken(
    scene: Scene, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    context = files.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        scene.shake_hands(context)
    assert scene.until_closed() == {"tls_failed": 1}
    assert "neither TLS 1.2 nor TLS 1.3" in caplog.text


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
def test_a_handshake_that_stalls_ends_when_its_time_is_up(scene: Scene, data: bytes) -> None:
    scene.plain.sendall(data)
    scene.house.advance(HANDSHAKE_TIMEOUT_S - 0.1)
    assert not scene.closes()
    scene.house.advance(0.1)
    assert scene.closes() == {"handshake_timeout": 1}
    assert scene.house.counters.connections == 0


def test_the_rtmp_handshake_has_what_is_left_of_the_same_time(
    scene: Scene, files: CertificateFiles
) -> None:
    scene.house.advance(HANDSHAKE_TIMEOUT_S - 1)
    with scene.shake_hands(files.client_context()) as peer:
        peer.send(b"\x03")
        scene.house.advance(0.9)
        assert not scene.closes()
        scene.house.advance(0.1)
        assert scene.closes() == {"handshake_timeout": 1}


def test_handshakes_count_as_connections(scene: Scene, certificate: Certificate) -> None:
    scene.house.publisher()
    assert scene.house.counters.connections == len(scene.house.sessions) == 2
    newer = Scene(scene.house, certificate)
    assert scene.closes() == {"half_open_evicted": 1}, "the older handshake makes room"
    assert scene.house.counters.connections == 2
    assert scene.house.counters.connections_half_open == 1
    newer.plain.close()


def test_a_drain_ends_those_that_still_shake_hands(scene: Scene) -> None:
    scene.house.sessions.end_all(CloseReason.DRAINED)
    assert scene.closes() == {"drained": 1}
    assert scene.plain.recv(1) == b""


def test_a_handshake_that_does_not_fit_the_socket_goes_on_when_it_does(
    house: House, tmp_path: Path
) -> None:
    """A chain of many certificates against the least buffers: our part of the handshake is cut."""
    files = make_certificate(tmp_path)
    chain = b"".join(make_certificate(tmp_path, f"more-{n}").cert.read_bytes() for n in range(60))
    files.cert.write_bytes(files.cert.read_bytes() + chain)
    certificate = Certificate(files.cert, files.key)
    accepted, plain = tcp_pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LEAST_SEND_BUFFER_BYTES)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LEAST_SEND_BUFFER_BYTES)
    house.sessions.accept_tls(certificate, accepted, _PEER)
    waited_to_write: list[bool] = []
    plain.setblocking(False)
    peer = files.client_context().wrap_socket(
        plain, server_hostname="localhost", do_handshake_on_connect=False
    )

    def done() -> bool:
        waited_to_write.append(bool(house.poller._writing))
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.do_handshake()
            return True
        return False

    with peer:
        run_until(house.loop, done, "the handshake")
        run_until(house.loop, lambda: not len(house.sessions._door._handshakes), "our side to be done")
        assert any(waited_to_write)
        assert len(house.sessions) == 1
