"""Probes: a word that a worker sends the way its media goes, for the router that it goes through.

    topic       TOPIC_BYTES, of no stream key: none has a NUL in it
    head        version u8, i64: when it was sent, in microseconds on the router's monotonic clock
    sender      the worker that sends it, UTF-8

A router lets media through without looking at it. By these it sees how long media takes to reach it, with
all that queues on the way.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cluster.core.bus.envelope import TOPIC_BYTES, topic
from cluster.core.bus.identity import MAX_INSTANCE_BYTES, MAX_NODE_BYTES
from cluster.core.bus.packing import VERSION
from cluster.core.errors import ClusterError

PROBE_TOPIC = topic("\0probe")

_HEAD = struct.Struct(">Bq")
_SENDER_AT = TOPIC_BYTES + _HEAD.size
#: A node and its instance, a slot and an incarnation.
_LONGEST_SENDER = MAX_NODE_BYTES + MAX_INSTANCE_BYTES + 40


class ProbeError(ClusterError):
    """Bytes from the bus that are no probe."""


class Probe(NamedTuple):
    """``sent_us`` is on the router's clock."""

    sender_id: str
    sent_us: int


def encode_probe(probe: Probe) -> bytes:
    """``probe`` as it crosses the bus."""
    sender = probe.sender_id.encode("utf-8", "surrogateescape")
    return PROBE_TOPIC + _HEAD.pack(VERSION, probe.sent_us) + sender


def decode_probe(frame: bytes) -> Probe:
    """The probe that ``frame`` is; ProbeError on anything else."""
    if not _SENDER_AT < len(frame) <= _SENDER_AT + _LONGEST_SENDER:
        raise ProbeError(f"{len(frame)} bytes are no probe")
    version, sent_us = _HEAD.unpack_from(frame, TOPIC_BYTES)
    if version != VERSION:
        raise ProbeError(f"version {version} is not {VERSION}")
    return Probe(frame[_SENDER_AT:].decode("utf-8", "surrogateescape"), sent_us)
