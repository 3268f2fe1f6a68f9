"""Limits on what one peer may cost, each with a name, a default and its reason."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one RTMP connection. Exceeding one closes that connection with a named reason."""

    #: A 4K keyframe stays well below; the format itself would allow 16,777,215 bytes.
    max_message_bytes: int = 10 * MIB
    #: Real peers use at most a handful; 64 leaves room for one per track.
    max_chunk_streams: int = 64
    #: Chunks looked at one by one in one go, and commands, each as COMMAND_WORK chunks; what is behind them
    #: is left unread. A client reads what a server of its own choice sends, so only servers bound it.
    max_work_at_once: int | None = None
    #: A message before the peer has asked to publish, and a command at any time. The largest of a real peer
    #: is a connect of 2 KiB.
    max_command_bytes: int = 64 * KIB
    #: Bytes of unfinished messages over all chunk streams of one connection: one full message and
    #: some control messages between its chunks.
    max_partial_bytes: int = 12 * MIB
    #: Message streams (createStream) alive at once on one connection.
    max_message_streams: int = 16
    #: Nesting of AMF objects and arrays: real commands nest three deep.
    max_amf_depth: int = 32
    #: Values in one AMF message, so that a small message cannot become a large object tree. An AMF0 array
    #: of nothing but numbers counts as one: the keyframe index of a long recording has any number of them.
    max_amf_values: int = 10_000
    #: From accept to the end of the handshake, as a whole: a per-read bound lets a peer drip bytes.
    handshake_timeout_s: float = 10.0
    #: From the handshake to the first publish or play, and between two of them.
    idle_timeout_s: float = 60.0
    #: A ping is sent after this long without one; the answer gives the round-trip time.
    ping_interval_s: float = 20.0
    #: Nothing at all received for this long after an unanswered ping: the peer is gone.
    ping_timeout_s: float = 60.0
