"""SWF verification: a Flash-era server asks a player to prove which SWF file it runs.

User control events 0x1A and 0x1B. The proof is an HMAC over the file's own hash with a key that the
server's handshake packet ends with, so it holds for one connection only. It proves nothing about who
asks: the hash of a public file is public.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Self

from cluster.core.errors import MisuseError
from cluster.core.message import Message
from cluster.core.rtmp import control
from cluster.core.rtmp.control import UserControl
from cluster.core.rtmp.handshake import DIGEST_BYTES, PLAYER_KEY

#: 01 01, the size twice, the digest.
_RESPONSE = struct.Struct(">HII32s")


@dataclass(frozen=True, slots=True)
class SwfFile:
    """What identifies an SWF file: its uncompressed size, and the hash of its uncompressed bytes."""

    size_bytes: int
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise MisuseError(f"an SWF hash has {DIGEST_BYTES} bytes, not {len(self.digest)}")

    @classmethod
    def of(cls, uncompressed: bytes) -> Self:
        """The identity of a file, given its uncompressed bytes."""
        return cls(len(uncompressed), hmac.digest(PLAYER_KEY, uncompressed, hashlib.sha256))


def response(swf: SwfFile, key: bytes) -> Message:
    """The answer to a verification request; ``key`` is ``swf_key`` of the handshake."""
    return control.swf_verify_response(swf.size_bytes, _proof(swf, key))


def proves(answer: UserControl, swf: SwfFile, key: bytes) -> bool:
    """Whether the answer is that of a peer that runs ``swf``."""
    if len(answer.body) != _RESPONSE.size:
        return False
    _, size_bytes, size_again, proof = _RESPONSE.unpack(answer.body)
    sizes_agree = size_bytes == size_again == swf.size_bytes
    return sizes_agree and hmac.compare_digest(proof, _proof(swf, key))


def _proof(swf: SwfFile, key: bytes) -> bytes:
    return hmac.digest(key, swf.digest, hashlib.sha256)
