"""TLS as a non-blocking socket: nothing stays inside OpenSSL, and nothing is sent twice or never."""

from __future__ import annotations

import contextlib
import gc
import random
import select
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from cluster.net.tls_certificate import Certificate
from cluster.net.tls_socket import MAX_RECORD_BYTES, MAX_RECORDS_PER_READ, TlsSocket
from support.house import tcp_pair, unix_pair
from support.tls import CertificateFiles, make_certificate

_BUFFER_BYTES = 4 * MAX_RECORD_BYTES
_MOST_STEPS = 100_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(files: CertificateFiles) -> Certificate:
    return Certificate(files.cert, files.key)


class Pair:
    """Our side and the peer's, hands shaken."""

    def __init__(
        self,
        certificate: Certificate,
        files: CertificateFiles,
        sockets: Callable[[], tuple[socket.socket, socket.socket]] = unix_pair,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        accepted, plain = sockets()
        plain.setblocking(False)
        context = files.client_context()
        context.maximum_version = version
        self.ours = TlsSocket(accepted, certificate.context)
        self.peer = context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        done: set[object] = set()
        for _ in range(_MOST_STEPS):
            for end in (self.peer, self.ours):
                if end not in done:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        end.do_handshake()
                        done.add(end)
            if len(done) == 2:
                return
        pytest.fail("no handshake")

    def is_readable(self) -> bool:
        return bool(select.select([self.ours], [], [], 0)[0])

    def is_writable(self) -> bool:
        return bool(select.select([], [self.ours], [], 0)[1])

    def receive(self) -> bytes:
        return bytes(self._buffer[: self.ours.recv_into(self._buffer)])

    def peer_reads(self, size: int = 1 << 20) -> bytes:
        """What there is now, up to that size; b"" if nothing."""
        got = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):
            while len(got) < size and (data := self.peer.recv(min(size - len(got), 65536))):
                got += data
        return bytes(got)

    def close(self) -> None:
        self.ours.close()
        self.peer.close()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def pair(
    certificate: Certificate, files: CertificateFiles, request: pytest.FixtureRequest
) -> Iterator[Pair]:
    made = Pair(certificate, files, version=request.param)
    yield made
    made.close()


@pytest.fixture
def over_tcp(certificate: Certificate, files: CertificateFiles) -> Iterator[Pair]:
    made = Pair(certificate, files, tcp_pair)
    yield made
    made.close()


def pattern(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


# ---- reading ---------------------------------------------------------------------------------


def test_nothing_to_read_is_blocking_as_with_a_socket(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        pair.receive()


@pytest.mark.parametrize("record", [1, 1000, MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES])
def test_nothing_stays_inside_when_no_poller_would_say_so(pair: Pair, record: int) -> None:
    """Records of every size against a buffer of four: after each read, what is left is in the kernel."""
    data = pattern(min(record * 30, 12 * _BUFFER_BYTES))
    got = b""
    sent = 0
    for _ in range(_MOST_STEPS):
        with contextlib.suppress(ssl.SSLWantWriteError):
            while sent < len(data):
                sent += pair.peer.send(data[sent : sent + record])
        while pair.is_readable():
            got += pair.receive()
        if len(got) == len(data):
            break
    assert got == data


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_read_decrypts_so_many_records_and_leaves_the_rest_readable(pair: Pair, beyond: int) -> None:
    data = pattern(MAX_RECORDS_PER_READ + beyond)
    for byte in data:
        pair.peer.send(bytes([byte]))
    assert pair.receive() == data[:MAX_RECORDS_PER_READ]
    assert pair.is_readable() == bool(beyond)
    if beyond:
        assert pair.receive() == data[MAX_RECORDS_PER_READ:]


def test_a_goodbye_behind_data_is_read_after_it_even_if_the_peer_stays(pair: Pair) -> None:
    pair.peer.send(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.peer.unwrap()
    assert pair.receive() == b"last"
    assert pair.is_readable()
    assert pair.receive() == b""
    assert pair.receive() == b""


def test_a_peer_that_is_gone_without_a_goodbye_is_at_its_end(pair: Pair) -> None:
    pair.peer.send(b"last")
    pair.peer.close()
    assert pair.receive() == b"last"
    assert pair.is_readable()
    assert pair.receive() == b""


def test_bytes_that_are_not_tls_are_an_os_error_after_what_was_before_them(pair: Pair) -> None:
    pair.peer.send(b"good")
    socket.socket.send(pair.peer, b"\x17\x03\x03\x00\x20" + bytes(32))
    assert pair.receive() == b"good"
    assert pair.is_readable()
    with pytest.raises(OSError, match=r"(?i)decryption|mac"):
        pair.receive()


# ---- writing ---------------------------------------------------------------------------------


def test_what_fits_is_sent_at_once_and_in_order(pair: Pair) -> None:
    data = pattern(50_000)
    assert pair.ours.send(data) == len(data)
    assert pair.ours.sendmsg([data[:10], data[10:20_000], b"", memoryview(data)[20_000:]]) == len(data)
    assert pair.peer_reads() == data * 2


@pytest.mark.parametrize("joined", [False, True], ids=["send", "sendmsg"])
def test_a_record_that_is_cut_arrives_once_whatever_is_sent_next(pair: Pair, joined: bool) -> None:
    """As a slow player: its message that was cut is finished, then it is moved to a newer one."""
    first, later = pattern(4_000_000, 1), pattern(100_000, 2)
    sent = pair.ours.sendmsg([first[:100], first[100:]]) if joined else pair.ours.send(first)
    assert 0 < sent < len(first)
    with pytest.raises(BlockingIOError):
        pair.ours.send(first[sent:])
    kept = first[sent : sent + 1]  # the caller has no more than what it was told is unsent
    got = pair.peer_reads()
    assert pair.is_writable()
    assert pair.ours.send(kept + later) == len(kept + later)
    got += pair.peer_reads()
    assert got == first[: sent + 1] + later


def test_a_full_socket_blocks_again_until_the_record_that_waits_is_gone(pair: Pair) -> None:
    data = pattern(4_000_000)
    sent = pair.ours.send(data)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            pair.ours.sendmsg([data[sent:]])
    with pytest.raises(BlockingIOError):
        pair.ours.send(data[sent : sent + 1])
    got = pair.peer_reads()
    assert pair.ours.send(data[sent : sent + 1]) == 1
    got += pair.peer_reads()
    assert got == data[: sent + 1]


@pytest.mark.parametrize("seed", range(8))
def test_any_sizes_against_a_slow_reader_are_one_stream(over_tcp: Pair, seed: int) -> None:
    """Random writes, and a peer that reads random pieces: as many whole messages as it is told of."""
    chance = random.Random(seed)
    written, got, rest = bytearray(), bytearray(), b""
    for _ in range(400):
        if not rest:
            rest = chance.randbytes(chance.choice([1, 12, 1000, 16_383, 16_384, 16_385, 70_000, 300_000]))
            written += rest
        with contextlib.suppress(BlockingIOError):
            if chance.random() < 0.5:
                cut = chance.randrange(len(rest) + 1)
                rest = rest[over_tcp.ours.sendmsg([rest[:cut], rest[cut:]]) :]
            else:
                rest = rest[over_tcp.ours.send(rest) :]
        if chance.random() < 0.3:
            got += over_tcp.peer_reads(chance.choice([1, 5000, 200_000]))
    over_tcp.peer.settimeout(5)
    while rest or len(got) < len(written):
        if rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[over_tcp.ours.send(rest) :]
        got += over_tcp.peer.recv(65536)
    assert got == written


def test_a_peer_that_is_gone_is_an_os_error_that_is_not_blocking(over_tcp: Pair) -> None:
    over_tcp.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # RST
    over_tcp.peer.close()
    select.select([over_tcp.ours], [], [], 5)
    with pytest.raises((BrokenPipeError, ConnectionResetError, ssl.SSLError)):
        over_tcp.ours.sendmsg([b"x" * 1_000_000] * 10)


# ---- ending ----------------------------------------------------------------------------------


def test_the_end_is_said_and_what_the_peer_sends_meanwhile_is_forgotten(pair: Pair) -> None:
    pair.peer.send(b"x" * 5000)  # unread when we end
    pair.ours.send(b"last word")
    pair.ours.shutdown(socket.SHUT_WR)
    pair.ours.shutdown(socket.SHUT_WR)
    pair.peer.send(b"y" * 5000)
    pair.peer.suppress_ragged_eofs = False
    assert pair.peer.recv(100) == b"last word"
    assert pair.peer.recv(100) == b""  # a goodbye: without one this would raise
    assert pair.receive()
    pair.peer.close()
    while pair.receive():
        pass


def test_a_peer_that_is_gone_when_it_is_taken_over_is_an_os_error(certificate: Certificate) -> None:
    never_connected = socket.socket()
    never_connected.setblocking(False)
    ours = TlsSocket(never_connected, certificate.context)
    with contextlib.closing(ours), pytest.raises(OSError, match="not connected"):
        ours.do_handshake()


# ---- being freed -----------------------------------------------------------------------------


def says_goodbye(pair: Pair) -> None:
    pair.ours.shutdown(socket.SHUT_WR)


def is_told_goodbye_behind_bytes(pair: Pair) -> None:
    pair.peer.send(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.peer.unwrap()
    assert pair.receive() == b"last"


def fails_behind_bytes(pair: Pair) -> None:
    pair.peer.send(b"last")
    socket.socket.send(pair.peer, b"no record at all")
    assert pair.receive() == b"last"
    with pytest.raises(OSError, match="SSL"):
        pair.receive()


@pytest.mark.parametrize("happens", [says_goodbye, is_told_goodbye_behind_bytes, fails_behind_bytes])
def test_it_is_freed_without_the_garbage_collector(
    certificate: Certificate, files: CertificateFiles, happens: Callable[[Pair], None]
) -> None:
    """OpenSSL keeps tens of kilobytes for each, which the collector does not see: it comes rarely."""
    gc.collect()
    gc.disable()
    try:
        pair = Pair(certificate, files)
        happens(pair)
        pair.close()
        del pair
        assert not [each for each in gc.get_objects() if isinstance(each, TlsSocket)]
    finally:
        gc.enable()
