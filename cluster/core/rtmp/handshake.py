"""The handshake, both roles: simple (RTMP 1.0, section 5.2) and signed, as Flash Player 9 and later.

Each side sends a version byte, a packet of 1536 bytes, and a packet that answers the other's. In the
signed form the first packet hides an HMAC-SHA256 digest at a position that four of its own random
bytes give, in one of two layouts, and the answer is signed with a key made from that digest. RTMPE
(encryption, versions 6 and 8) is refused. Clock and entropy are handed in.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal, NamedTuple, TypeAlias

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Buffer

Layout: TypeAlias = Literal["digest-first", "key-first"]
Kind: TypeAlias = Literal["simple", "digest-first", "key-first"]

PROTOCOL_VERSION = 3
PACKET_BYTES = 1536
DIGEST_BYTES = 32
#: Random bytes of an answer, in front of its signature.
_SIGNED_BYTES = PACKET_BYTES - DIGEST_BYTES
#: What each role must be handed: one packet, and the random part of one answer.
ENTROPY_BYTES = PACKET_BYTES + _SIGNED_BYTES

_TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
PLAYER_KEY = b"Genuine Adobe Flash Player 001"
_SERVER_KEY = b"Genuine Adobe Flash Media Server 001"
_PLAYER_ANSWER_KEY = PLAYER_KEY + _TAIL
_SERVER_ANSWER_KEY = _SERVER_KEY + _TAIL

#: Where the four offset bytes stand, and where the digest stands if their sum is 0.
_LAYOUTS: dict[Layout, tuple[int, int]] = {"digest-first": (8, 12), "key-first": (772, 776)}
_OFFSET_MODULUS = 728

# Bytes 4 to 7 of a signed packet: not 0, or the peer takes it for a simple one. The values are those
# of programs that peers have met: Flash Player 10.0.45.2 and Flash Media Server 4.5.0.1.
_PLAYER_VERSION = bytes((10, 0, 45, 2))
_SERVER_VERSION = bytes((4, 5, 0, 1))
_UNSIGNED_VERSION = bytes(4)

_TLS_ALERT = 0x15
_TLS_HANDSHAKE = 0x16
_ENCRYPTED_VERSIONS = (6, 8)
_FIRST_TEXT_BYTE = 32


class _Signature(NamedTuple):
    layout: Layout
    digest: bytes


class _Handshake:
    """What both roles do: gather the peer's version byte and two packets, answer the first.

    ``kind`` is None until the peer's first packet is complete, ``peer_version`` its bytes 4 to 7.
    Once ``done``, ``leftover`` holds what came behind the handshake: the first chunks. ``swf_key`` is
    what SWF verification is keyed with: the last 32 bytes of the server's first packet.
    """

    def __init__(self, *, entropy: bytes, uptime_ms: int) -> None:
        if len(entropy) < ENTROPY_BYTES:
            raise MisuseError(f"a handshake needs {ENTROPY_BYTES} random bytes, not {len(entropy)}")
        self.done = False
        self.leftover = b""
        self.kind: Kind | None = None
        self.peer_version = b""
        self.swf_key = b""
        self._entropy = entropy
        self._uptime_ms = uptime_ms
        self._received = bytearray()

    def receive(self, data: Buffer) -> bytes:
        """Take what arrived; return what to send, often nothing. Not to be called once done.

        Raises PeerViolation: NOT_RTMP or UNSUPPORTED_HANDSHAKE, as soon as the first byte tells.
        """
        if self.done:
            raise MisuseError("the handshake is over; what follows it belongs to the chunk reader")
        self._received += data
        reply = b""
        if self.kind is None:
            if self._received:
                _check_version(self._received)
            if len(self._received) < 1 + PACKET_BYTES:
                return b""
            packet = bytes(self._received[1 : 1 + PACKET_BYTES])
            self.peer_version = packet[4:8]
            reply = self._answer(packet)
        # The peer's second packet is not compared with ours: FFmpeg echoes where it should sign.
        end = 1 + 2 * PACKET_BYTES
        if len(self._received) >= end:
            self.leftover = bytes(self._received[end:])
            self._received.clear()
            self.done = True
        return reply

    def _answer(self, packet: bytes) -> bytes:
        """Set ``kind`` by the peer's first packet and return what to send now."""
        raise NotImplementedError

    def _first_packet(self, version: bytes) -> bytes:
        """Our first packet, unsigned: clock, version, random bytes."""
        clock = (self._uptime_ms & 0xFFFFFFFF).to_bytes(4, "big")
        return clock + version + self._entropy[8:PACKET_BYTES]

    def _signed_answer(self, key: bytes, peer_digest: bytes) -> bytes:
        signed = self._entropy[PACKET_BYTES:ENTROPY_BYTES]
        return signed + _hmac(_hmac(key, peer_digest), signed)


class ServerHandshake(_Handshake):
    """The accepting side. Sends nothing before the peer's first packet is complete (section 5.2.1)."""

    def _answer(self, packet: bytes) -> bytes:
        signature = _find_signature(packet, PLAYER_KEY)
        if signature is None:
            self.kind = "simple"
            first = self._first_packet(_UNSIGNED_VERSION)
            second = packet
        else:
            # FFmpeg and Flash look for our digest in the layout that they used themselves.
            self.kind = signature.layout
            first = _sign(self._first_packet(_SERVER_VERSION), signature.layout, _SERVER_KEY)
            second = self._signed_answer(_SERVER_ANSWER_KEY, signature.digest)
        self.swf_key = first[-DIGEST_BYTES:]
        return bytes((PROTOCOL_VERSION,)) + first + second


class ClientHandshake(_Handshake):
    """The connecting side. Mode "auto" signs, and goes on as simple if the server does not."""

    def __init__(
        self, *, entropy: bytes, uptime_ms: int, mode: Literal["auto", "simple"] = "auto"
    ) -> None:
        super().__init__(entropy=entropy, uptime_ms=uptime_ms)
        self._mode = mode

    def start(self) -> bytes:
        """Return the bytes to send first."""
        if self._mode == "simple":
            packet = self._first_packet(_UNSIGNED_VERSION)
        else:
            packet = _sign(self._first_packet(_PLAYER_VERSION), "digest-first", PLAYER_KEY)
        return bytes((PROTOCOL_VERSION,)) + packet

    def _answer(self, packet: bytes) -> bytes:
        self.swf_key = packet[-DIGEST_BYTES:]
        signature = _find_signature(packet, _SERVER_KEY) if self._mode == "auto" else None
        if signature is None:
            self.kind = "simple"
            return packet
        self.kind = signature.layout
        return self._signed_answer(_PLAYER_ANSWER_KEY, signature.digest)


def _check_version(received: Buffer) -> None:
    """Judge the first byte (section 5.2.2): text and TLS are not RTMP; an unknown version counts as 3."""
    version = received[0]
    if version in _ENCRYPTED_VERSIONS:
        raise PeerViolation(
            CloseReason.UNSUPPORTED_HANDSHAKE, f"version {version} is RTMPE, which is not supported"
        )
    if version in (_TLS_ALERT, _TLS_HANDSHAKE):
        raise PeerViolation(
            CloseReason.NOT_RTMP,
            f"first byte {version:#04x}: TLS on an address of --bind, which speaks plain RTMP: "
            "use rtmp://, or rtmps:// at one of --bind-tls",
        )
    if version >= _FIRST_TEXT_BYTE:
        # The first letters of the HTTP methods, and of "HTTP/1.1" itself.
        guess = "looks like HTTP" if version in b"GPHOCDT" else "not a version of RTMP"
        raise PeerViolation(CloseReason.NOT_RTMP, f"first byte {version:#04x}: {guess}")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def _digest_position(packet: bytes, layout: Layout) -> int:
    offset, base = _LAYOUTS[layout]
    return sum(packet[offset : offset + 4]) % _OFFSET_MODULUS + base


def _digest_at(packet: bytes, position: int, key: bytes) -> bytes:
    """The digest of all bytes of ``packet`` but the 32 at ``position``, where it belongs."""
    return _hmac(key, packet[:position] + packet[position + DIGEST_BYTES :])


def _sign(packet: bytes, layout: Layout, key: bytes) -> bytes:
    position = _digest_position(packet, layout)
    digest = _digest_at(packet, position, key)
    return packet[:position] + digest + packet[position + DIGEST_BYTES :]


def _find_signature(packet: bytes, key: bytes) -> _Signature | None:
    if packet[4:8] == _UNSIGNED_VERSION:
        return None
    for layout in _LAYOUTS:
        position = _digest_position(packet, layout)
        digest = packet[position : position + DIGEST_BYTES]
        if hmac.compare_digest(digest, _digest_at(packet, position, key)):
            return _Signature(layout, digest)
    return None
