"""The words by which a router sees how long media takes to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.bus.envelope import EnvelopeError, decode
from cluster.core.bus.probe import PROBE_TOPIC, Probe, ProbeError, decode_probe, encode_probe

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(names, st.integers(0, 2**63 - 1))
def test_round_trip(sender_id: str, sent_us: int) -> None:
    probe = Probe(sender_id, sent_us)
    assert decode_probe(encode_probe(probe)) == probe


@pytest.mark.parametrize(
    "frame",
    [
        b"", PROBE_TOPIC, encode_probe(Probe("", 5)), encode_probe(Probe("n" * 1_000, 5)),
        PROBE_TOPIC + b"\5" + bytes(8) + b"node/i/0/1",
    ],
    ids=["nothing", "a topic alone", "of nobody", "too long", "of another version"],
)  # fmt: skip
def test_what_is_no_probe(frame: bytes) -> None:
    with pytest.raises(ProbeError):
        decode_probe(frame)


def test_a_probe_is_no_envelope() -> None:
    with pytest.raises(EnvelopeError):
        decode(encode_probe(Probe("node/i/0/1", 5)))
