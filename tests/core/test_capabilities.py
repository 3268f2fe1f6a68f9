"""Enhanced RTMP's connect properties: read from any peer, answered, declared."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cluster.core.amf.values import UNDEFINED, EcmaArray
from cluster.core.rtmp import capabilities
from cluster.core.rtmp.capabilities import LEGACY, MAX_FOURCCS, RELAY, Capabilities, CapsEx, VideoFunction


def test_a_legacy_peer_declares_nothing_and_costs_nothing() -> None:
    assert capabilities.read({"app": "live", "videoFunction": 0.0}) is LEGACY
    assert not LEGACY.can_reconnect


def test_everything_a_player_can_declare() -> None:
    read = capabilities.read(
        {
            "fourCcList": ["av01", "vp09", "hvc1"],
            "videoFourCcInfoMap": {"hvc1": 1.0, "av01": 3.0},
            "audioFourCcInfoMap": EcmaArray({"Opus": 1.0}),
            "capsEx": 3.0,
            "videoFunction": 4.0,
        }
    )
    assert read == Capabilities(
        fourcc_list=("av01", "vp09", "hvc1"),
        video_fourccs=(("hvc1", 1), ("av01", 3)),
        audio_fourccs=(("Opus", 1),),
        caps_ex=CapsEx.RECONNECT | CapsEx.MULTITRACK,
        video_function=VideoFunction.CLIENT_VIDEO_PACKET_TYPE_METADATA,
    )
    assert read.can_reconnect


@pytest.mark.parametrize(
    "value", [None, UNDEFINED, "x", True, math.nan, math.inf, -1.0, 2.0**32, [1.0], {}]
)
def test_values_of_the_wrong_type_are_ignored(value: Any) -> None:
    assert capabilities.read({"capsEx": value, "videoFunction": value}) is LEGACY
    assert capabilities.read({"videoFourCcInfoMap": value if value != {} else None}) is LEGACY
    read = capabilities.read({"fourCcList": [value, "hvc1", "toolong"]})
    assert read.fourcc_list == ("hvc1",)


@pytest.mark.parametrize("properties", [None, UNDEFINED, "x", 5.0, []])
def test_no_object_at_all(properties: Any) -> None:
    assert capabilities.read(properties) is LEGACY


@pytest.mark.parametrize(("count", "kept"), [(MAX_FOURCCS, MAX_FOURCCS), (MAX_FOURCCS + 1, MAX_FOURCCS)])
def test_lists_and_maps_are_bounded(count: int, kept: int) -> None:
    names = [f"{number:04}" for number in range(count)]
    read = capabilities.read({"fourCcList": list(names), "audioFourCcInfoMap": dict.fromkeys(names, 1.0)})
    assert read.fourcc_list is not None
    assert len(read.fourcc_list) == kept
    assert len(read.audio_fourccs) == kept


def test_the_answer_of_a_relay() -> None:
    assert capabilities.answer(LEGACY) == {
        "videoFourCcInfoMap": {"*": 4},
        "audioFourCcInfoMap": {"*": 4},
        "capsEx": 14,
    }


def test_the_list_is_echoed_only_if_it_was_sent() -> None:
    answer = capabilities.answer(Capabilities(fourcc_list=("av01",)))
    assert answer["fourCcList"] == ["av01"]
    assert capabilities.answer(Capabilities(fourcc_list=()))["fourCcList"] == []


def test_what_our_client_role_declares_reads_back() -> None:
    declared = capabilities.declare(RELAY)
    assert list(declared) == ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
    assert capabilities.read(declared) == RELAY
    assert capabilities.declare(LEGACY) == {}
