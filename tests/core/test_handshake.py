"""The handshake in both roles, alone and against each other, cut at every offset."""

import functools
import hashlib
import hmac
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.rtmp.handshake import ENTROPY_BYTES, ClientHandshake, ServerHandshake

PACKET = 1536
FIRST_CHUNKS = b"\x03\x00\x00first chunks"

# The vector: C1 with its digest at a known place, and what a server makes of it.
VECTOR_RANDOM = bytes((5 * i + 1) & 0xFF for i in range(1504))
VECTOR_PLAIN = bytes.fromhex("000000000A002D02") + bytes((7 * i + 3) & 0xFF for i in range(8, PACKET))
VECTORS = {
    "digest-first": (
        290,
        "9e1e292292020cafa3de8d97c58c378e19e72823bf43332b77c515fa666b1c17",
        "d04dcf093987b8a704ac2b1faad8164f9a1968c29bcfe7ee2eb7f847c4a108c9",
    ),
    "key-first": (
        942,
        "0f91cf3bc4f3fce664bb1aee4629073e9ed024bf00104133b604e0ca27fb33fa",
        "ac43e97221341ef79a498823833fe79eca34d83cd0c3451b332cbf11429ed5c8",
    ),
}
TAIL = bytes.fromhex("F0EEC24A8068BEE82E00D0D1029E7E576EEC5D2D29806FAB93B8E636CFEB31AE")
FP30 = b"Genuine Adobe Flash Player 001"
FMS36 = b"Genuine Adobe Flash Media Server 001"


@functools.cache
def entropy(seed: int = 0) -> bytes:
    return bytes((11 * i + i // 256 + seed) & 0xFF for i in range(PACKET)) + VECTOR_RANDOM


def sha256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def position(packet: bytes, layout: str) -> int:
    if layout == "digest-first":
        return sum(packet[8:12]) % 728 + 12
    return sum(packet[772:776]) % 728 + 776


def signed(packet: bytes, layout: str, key: bytes) -> bytes:
    at = position(packet, layout)
    return packet[:at] + sha256(key, packet[:at] + packet[at + 32 :]) + packet[at + 32 :]


def digest_of(packet: bytes, layout: str, key: bytes) -> bytes | None:
    at = position(packet, layout)
    found = packet[at : at + 32]
    return found if found == sha256(key, packet[:at] + packet[at + 32 :]) else None


def vector_c1(layout: str) -> bytes:
    at, digest, _ = VECTORS[layout]
    return VECTOR_PLAIN[:at] + bytes.fromhex(digest) + VECTOR_PLAIN[at + 32 :]


def server(seed: int = 0) -> ServerHandshake:
    return ServerHandshake(entropy=entropy(seed), uptime_ms=0x01020304)


def client(mode: str = "auto", seed: int = 7) -> ClientHandshake:
    return ClientHandshake(entropy=entropy(seed), uptime_ms=0x0A0B0C0D, mode=mode)  # type: ignore[arg-type]


# --- whole handshakes in files: made with openssl's HMAC and not by this project's code, their digests at
# positions where Flash players and VLC have been seen to put them

FILES = pathlib.Path(__file__).parent / "handshakes"
FILED = {"digest_first_494": ("digest-first", 494), "key_first_1325": ("key-first", 1325)}


def filed(name: str, packet: str) -> bytes:
    return (FILES / f"{name}.{packet}").read_bytes()


@pytest.mark.parametrize("name", FILED)
def test_a_filed_handshake_has_its_digests_where_it_says(name: str) -> None:
    layout, at = FILED[name]
    for packet, key in (("c1", FP30), ("s1", FMS36)):
        assert position(filed(name, packet), layout) == at
        assert digest_of(filed(name, packet), layout, key) is not None


@pytest.mark.parametrize("name", FILED)
def test_a_filed_handshake_in_the_server_role(name: str) -> None:
    s2 = filed(name, "s2")
    answering = ServerHandshake(entropy=entropy()[:PACKET] + s2[:1504], uptime_ms=0)
    reply = answering.receive(b"\x03" + filed(name, "c1"))
    assert answering.kind == FILED[name][0]
    assert answering.peer_version == bytes((10, 0, 45, 2))
    assert reply[1 + PACKET :] == s2
    assert digest_of(reply[1 : 1 + PACKET], FILED[name][0], FMS36) is not None
    assert answering.receive(filed(name, "c2") + FIRST_CHUNKS) == b""
    assert (answering.done, answering.leftover) == (True, FIRST_CHUNKS)


@pytest.mark.parametrize("name", FILED)
def test_a_filed_handshake_in_the_client_role(name: str) -> None:
    c2 = filed(name, "c2")
    connecting = ClientHandshake(entropy=entropy()[:PACKET] + c2[:1504], uptime_ms=0)
    connecting.start()
    assert connecting.receive(b"\x03" + filed(name, "s1")) == c2
    assert connecting.kind == FILED[name][0]
    assert connecting.peer_version == bytes((4, 5, 0, 1))
    assert connecting.receive(filed(name, "s2")) == b""
    assert connecting.done
    assert connecting.swf_key == filed(name, "s1")[-32:]


@pytest.mark.parametrize("name", FILED)
@pytest.mark.parametrize("changed", [8, 500, 776, 1330, 1535])
def test_a_filed_packet_with_one_bit_changed_is_not_signed(name: str, changed: int) -> None:
    packet = bytearray(filed(name, "c1"))
    packet[changed] ^= 1
    answering = server()
    answering.receive(b"\x03" + bytes(packet))
    assert answering.kind == "simple"


# --- the server


@pytest.mark.parametrize("layout", VECTORS)
def test_vector_in_the_server_role(layout: str) -> None:
    peer = server()
    answer = peer.receive(b"\x03" + vector_c1(layout))
    assert peer.kind == layout
    assert peer.peer_version == bytes.fromhex("0A002D02")
    assert answer[-1536:-32] == VECTOR_RANDOM
    assert answer[-32:].hex() == VECTORS[layout][2]


@pytest.mark.parametrize("layout", VECTORS)
def test_vector_digest_stands_where_the_client_role_would_put_it(layout: str) -> None:
    at, digest, _ = VECTORS[layout]
    assert position(VECTOR_PLAIN, layout) == at
    assert signed(VECTOR_PLAIN, layout, FP30)[at : at + 32].hex() == digest


def test_fault_1_the_server_says_nothing_before_c0_and_c1() -> None:
    peer = server()
    assert peer.receive(b"") == b""
    assert peer.receive(b"\x03") == b""
    assert peer.receive(bytes(1535)) == b""
    assert len(peer.receive(b"\0")) == 3073


@pytest.mark.parametrize("version", ["00000000", "80000702", "0A002D02"])
def test_fault_2_the_server_takes_unsigned_packets_as_simple(version: str) -> None:
    c1 = bytes(4) + bytes.fromhex(version) + bytes(range(256)) * 5 + bytes(248)
    peer = server()
    answer = peer.receive(b"\x03" + c1)
    assert peer.kind == "simple"
    assert answer[:1] == b"\x03"
    assert answer[1:5] == bytes.fromhex("01020304")
    assert answer[5:9] == bytes(4)
    assert answer[1537:] == c1


def test_a_signed_packet_whose_version_is_zero_is_simple() -> None:
    c1 = signed(bytes(8) + VECTOR_PLAIN[8:], "digest-first", FP30)
    peer = server()
    assert peer.receive(b"\x03" + c1)[1537:] == c1
    assert peer.kind == "simple"


@pytest.mark.parametrize("layout", VECTORS)
def test_fault_3_s1_is_signed_in_the_layout_of_c1(layout: str) -> None:
    answer = server().receive(b"\x03" + vector_c1(layout))
    s1 = answer[1:1537]
    assert s1[4] >= 3  # FFmpeg's player looks for a digest from there on
    assert digest_of(s1, layout, FMS36) is not None
    other = "key-first" if layout == "digest-first" else "digest-first"
    assert digest_of(s1, other, FMS36) is None


@pytest.mark.parametrize("version", [*range(6), 7, *range(9, 21), *range(23, 32)])
def test_an_unknown_version_below_32_is_answered_with_3(version: int) -> None:
    assert server().receive(bytes([version]) + bytes(PACKET))[0] == 3


@pytest.mark.parametrize("version", [6, 8])
def test_rtmpe_is_refused_at_its_first_byte(version: int) -> None:
    with pytest.raises(PeerViolation, match="RTMPE") as caught:
        server().receive(bytes([version]))
    assert caught.value.reason is CloseReason.UNSUPPORTED_HANDSHAKE


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE"])
def test_http_is_named(method: bytes) -> None:
    with pytest.raises(PeerViolation, match="HTTP") as caught:
        server().receive(method + b" / HTTP/1.1\r\n")
    assert caught.value.reason is CloseReason.NOT_RTMP


@pytest.mark.parametrize("first", [0x15, 0x16])
def test_tls_is_named(first: int) -> None:
    with pytest.raises(PeerViolation, match="TLS") as caught:
        server().receive(bytes([first, 3, 1, 2, 0]))
    assert caught.value.reason is CloseReason.NOT_RTMP


@pytest.mark.parametrize("first", [32, 0x7F, 0x80, 0xF3, 0xFF])
def test_other_first_bytes_from_32_are_not_rtmp(first: int) -> None:
    for role in (server(), client()):
        for data in (bytes([first]), b""):  # and it stays so
            with pytest.raises(PeerViolation) as caught:
                role.receive(data)
            assert caught.value.reason is CloseReason.NOT_RTMP
        assert not role.done


def test_c2_is_not_compared_with_anything() -> None:
    peer = server()
    peer.receive(b"\x03" + vector_c1("digest-first"))
    assert peer.receive(b"\xaa" * PACKET) == b""
    assert peer.done


# --- the client


@pytest.mark.parametrize("layout", VECTORS)
def test_vector_in_the_client_role(layout: str) -> None:
    """A server's packet made with the vector's bytes; the answer is checked by the formula."""
    peer = client()
    peer.start()
    s1 = signed(VECTOR_PLAIN, layout, FMS36)
    c2 = peer.receive(b"\x03" + s1)
    assert peer.kind == layout
    at = position(s1, layout)
    assert c2 == VECTOR_RANDOM + sha256(sha256(FP30 + TAIL, s1[at : at + 32]), VECTOR_RANDOM)


def test_the_first_packet_of_the_client_is_signed() -> None:
    c0c1 = client().start()
    assert c0c1[:5] == bytes.fromhex("03 0A0B0C0D")
    assert c0c1[5:9] != bytes(4)
    assert digest_of(c0c1[1:], "digest-first", FP30) is not None


def test_the_first_packet_of_a_simple_client_is_not() -> None:
    assert client("simple").start() == bytes.fromhex("03 0A0B0C0D 00000000") + entropy(7)[8:PACKET]


@pytest.mark.parametrize("version", ["00000000", "04050001"])
def test_fault_4_the_client_goes_on_as_simple_if_s1_is_not_signed(version: str) -> None:
    s1 = bytes(4) + bytes.fromhex(version) + bytes(range(256)) * 5 + bytes(248)
    peer = client()
    peer.start()
    assert peer.receive(b"\x03" + s1) == s1
    assert peer.kind == "simple"
    assert peer.peer_version == bytes.fromhex(version)
    assert peer.receive(bytes(PACKET)) == b""
    assert peer.done


def test_a_simple_client_echoes_even_a_signed_s1() -> None:
    s1 = signed(VECTOR_PLAIN, "digest-first", FMS36)
    peer = client("simple")
    peer.start()
    assert peer.receive(b"\x03" + s1) == s1
    assert peer.kind == "simple"


# --- each other


@pytest.mark.parametrize(("mode", "kind"), [("auto", "digest-first"), ("simple", "simple")])
def test_both_roles_cut_at_every_offset(mode: str, kind: str) -> None:
    whole_client, whole_server = client(mode), server()
    c0c1 = whole_client.start()
    s0s1s2 = whole_server.receive(c0c1)
    c2 = whole_client.receive(s0s1s2)
    to_server = c0c1 + c2 + FIRST_CHUNKS
    to_client = s0s1s2 + FIRST_CHUNKS
    for role, data, reply in ((server, to_server, s0s1s2), (lambda: client(mode), to_client, c2)):
        for cut in range(len(data) + 1):
            peer = role()
            replies = peer.receive(data[:cut])
            behind = b""
            if peer.done:
                behind = data[cut:]
            else:
                replies += peer.receive(data[cut:])
            assert (replies, peer.done, peer.kind) == (reply, True, kind)
            assert peer.leftover + behind == FIRST_CHUNKS


@pytest.mark.parametrize(("mode", "kind"), [("auto", "digest-first"), ("simple", "simple")])
def test_both_roles_byte_by_byte(mode: str, kind: str) -> None:
    left, right = client(mode), server()
    to_right, to_left = left.start(), b""
    while not (left.done and right.done):
        assert to_right or to_left
        if to_right:
            to_left += right.receive(memoryview(to_right)[:1])
            to_right = to_right[1:]
        if to_left:
            to_right += left.receive(bytearray(to_left[:1]))
            to_left = to_left[1:]
    assert left.kind == right.kind == kind
    assert left.leftover == right.leftover == b""


@pytest.mark.parametrize("layout", VECTORS)
def test_our_answers_are_what_the_other_role_would_verify(layout: str) -> None:
    peer = server()
    c1 = signed(VECTOR_PLAIN, layout, FP30)
    answer = peer.receive(b"\x03" + c1)
    at = position(c1, layout)
    s2 = answer[1537:]
    assert s2[1504:] == sha256(sha256(FMS36 + TAIL, c1[at : at + 32]), s2[:1504])


@pytest.mark.parametrize("role", [ServerHandshake, ClientHandshake])
def test_too_little_entropy_is_misuse(role: type) -> None:
    role(entropy=bytes(ENTROPY_BYTES), uptime_ms=0)
    with pytest.raises(MisuseError):
        role(entropy=bytes(ENTROPY_BYTES - 1), uptime_ms=0)


def test_bytes_after_the_end_belong_to_someone_else() -> None:
    peer = server()
    peer.receive(b"\x03" + bytes(2 * PACKET))
    assert peer.done
    with pytest.raises(MisuseError):
        peer.receive(b"")


def test_the_clock_is_written_modulo_2_to_the_32() -> None:
    peer = ServerHandshake(entropy=entropy(), uptime_ms=2**32 + 5)
    assert peer.receive(b"\x03" + bytes(PACKET))[1:5] == bytes([0, 0, 0, 5])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=20), st.lists(st.binary(max_size=1700), max_size=6))
def test_noise_only_violates(first: bytes, rest: list[bytes]) -> None:
    reasons = set()
    for role in (server(), client()):
        try:
            for piece in [first, *rest]:
                if not role.done:
                    role.receive(piece)
        except PeerViolation as violation:
            reasons.add(violation.reason)
    assert reasons <= {CloseReason.NOT_RTMP, CloseReason.UNSUPPORTED_HANDSHAKE}
