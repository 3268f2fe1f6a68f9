"""The media messages that the classification tests share, written out byte for byte."""

from typing import NamedTuple

from cluster.core.media.classify import MediaFlags as F

AUDIO, VIDEO = 8, 9
NONE = F(0)


class Example(NamedTuple):
    name: str
    type_id: int
    payload: bytes
    flags: F


def _video(name: str, text: str, flags: F = NONE) -> Example:
    return Example(name, VIDEO, bytes.fromhex(text), F.VIDEO | flags)


def _audio(name: str, text: str, flags: F = NONE) -> Example:
    return Example(name, AUDIO, bytes.fromhex(text), F.AUDIO | flags)


#: What has no bytes to decode, whatever it calls itself.
EMPTY = [
    _video("no bytes", "", F.EMPTY),
    _video("avc without a unit, key", "17 01 000000", F.EMPTY),
    _video("avc without a unit, inter", "27 01 000000", F.EMPTY),
    _video("hevc without a unit, key", "91 68766331 000000", F.EMPTY),
    _video("hevc without a unit, CodedFramesX", "A3 68766331", F.EMPTY),
    _video("av1 without a unit", "91 61763031", F.EMPTY),
    _video("OneTrack without a unit", "96 01 61766331 02 000000", F.EMPTY),
    _video("ManyTracks without units", "96 13 68766331 00 000000 01 000000", F.EMPTY),
    _audio("no bytes", "", F.EMPTY),
    _audio("aac without data", "AF 01", F.EMPTY),
    _audio("mp3 without data", "2F", F.EMPTY),
    _audio("opus without data", "91 4F707573", F.EMPTY),
    _audio("OneTrack without data", "95 01 6D703461 01", F.EMPTY),
]

EXAMPLES = [
    _video("hevc sequence start", "90 68766331 0101", F.SEQUENCE_HEADER),
    _video("hevc key, CTS 33", "91 68766331 000021 00000002 2601", F.KEYFRAME),
    _video("hevc inter, CodedFramesX", "A3 68766331 00000002 0201"),
    _video("hevc key, CodedFramesX", "93 68766331 00000002 2601", F.KEYFRAME),
    _video("sequence end as OBS sends it", "A2 68766331", F.END_OF_SEQUENCE),
    _video("metadata, ft 0", "84 68766331 02 0009 636F6C6F72496E666F 06", F.METADATA),
    _video("ModEx 3 bytes, 999999 ns", "97 02 0F423F 01 68766331 000000 0000", F.KEYFRAME),
    _video("OneTrack, track 2, key frame type", "96 01 61766331 02 000000 00000001 65",
           F.MULTITRACK | F.OTHER_KEYFRAME),
    _video("OneTrack, track 0", "96 01 61766331 00 000000 00000001 65", F.MULTITRACK | F.KEYFRAME),
    _video("ManyTracks, sequence start", "96 10 68766331 00 000002 0101 01 000002 0102",
           F.MULTITRACK | F.SEQUENCE_HEADER),
    _video(
        "ManyTracksManyCodecs, inter",
        "A6 21 61763031 00 000003 120032 61766331 01 000007 000000 00000001",
        F.MULTITRACK,
    ),
    _video(
        "ManyTracksManyCodecs, key",
        "96 21 61763031 00 000003 120032 61766331 01 000007 000000 00000001",
        F.MULTITRACK | F.KEYFRAME,
    ),
    _video("ManyTracks without track 0, key", "96 13 68766331 01 000002 0101 02 000002 0102",
           F.MULTITRACK | F.OTHER_KEYFRAME),
    _video("StartSeek command", "D1 00", F.COMMAND),
    _video("StartSeek command, long", "D1 00 00000000000000", F.COMMAND),
    _video("metadata as FFmpeg writes it, ft 5", "D4 68766331 02 0009 636F6C6F72496E666F 06", F.METADATA),
    _video("ModEx of 256 bytes", "97 FF 00FF" + "AB" * 256 + "01 61763031 1200", F.KEYFRAME),
    _video("ModEx twice, second unknown", "97 02 000001 07 00 EE 51 61763031 1200", F.KEYFRAME),
    _video("ModEx, then OneTrack", "97 02 000FA0 06 01 61766331 00 000000 00", F.MULTITRACK | F.KEYFRAME),
    _video("ModEx, then metadata with ft 5", "D7 00 EE 04 68766331", F.METADATA),
    _video("av1 sequence start without a body", "90 61763031", F.SEQUENCE_HEADER),
    _video("av1 MPEG-2 TS sequence start", "95 61763031 80048100", F.SEQUENCE_HEADER),
    _video("av1 key", "91 61763031 12000A0B", F.KEYFRAME),
    _video("enhanced disposable", "B1 61763031 120032", F.DISPOSABLE),
    _video("enhanced generated key", "C1 61763031 120032", F.KEYFRAME),
    _video("reserved packet type", "98 61763031 120032"),
    _video("reserved multitrack layout", "96 31 61763031 00 120032"),
    _audio("reserved multitrack layout", "95 31 6D703461 00 120032"),
    _video("legacy avc sequence header", "17 00 000000 0164001F", F.SEQUENCE_HEADER),
    _video("legacy avc sequence header, ft 2", "27 00 000000 0164001F", F.SEQUENCE_HEADER),
    _video("legacy avc key", "17 01 000000 00000001 65", F.KEYFRAME),
    _video("legacy avc generated key", "47 01 000000 00000001 65", F.KEYFRAME),
    _video("legacy avc inter, CTS 33", "27 01 000021 00000001 41"),
    _video("legacy avc disposable", "37 01 000021 00000001 41", F.DISPOSABLE),
    _video("legacy avc end of sequence, ft 1", "17 02 000000", F.END_OF_SEQUENCE),
    _video("legacy avc end of sequence, ft 2", "27 02 000000", F.END_OF_SEQUENCE),
    _video("legacy avc end of sequence, nothing after it", "17 02", F.END_OF_SEQUENCE),
    _video("legacy avc, unknown packet type", "17 03 000000 00000001"),
    _video("legacy 12, hevc key", "1C 01 000000 00000001 26", F.KEYFRAME),
    _video("legacy 12, hevc sequence header", "1C 00 000000 01010000", F.SEQUENCE_HEADER),
    _video("legacy 13, av1 end of sequence", "1D 02 000000", F.END_OF_SEQUENCE),
    _video("legacy h263 key", "12 00 0084", F.KEYFRAME),
    _video("legacy vp6 inter", "24 00 0084 000000000000"),
    _video("legacy command", "57 01", F.COMMAND),
    _video("legacy command, long", "52 00 00000000000000", F.COMMAND),
    _video("empty video", "", F.EMPTY),
    _audio("aac sequence header", "AF 00 1190", F.SEQUENCE_HEADER),
    _audio("aac sequence header, long", "AF 00 1190 56E500", F.SEQUENCE_HEADER),
    _audio("aac frame", "AF 01 211004"),
    _audio("mp3 frame", "2F FFFB9064"),
    _audio("opus sequence start", "90 4F707573 4F70757348656164 0102", F.SEQUENCE_HEADER),
    _audio("opus sequence start without a body", "90 4F707573", F.SEQUENCE_HEADER),
    _audio("opus frame", "91 4F707573 F8"),
    _audio("OneTrack, mp4a, track 1", "95 01 6D703461 01 2110", F.MULTITRACK),
    _audio("OneTrack, mp4a, track 1, sequence start", "95 00 6D703461 01 1190",
           F.MULTITRACK | F.SEQUENCE_HEADER),
    _audio("ManyTracks, opus", "95 11 4F707573 00 000001 F8 01 000002 F8FF", F.MULTITRACK),
    _audio("multichannel, native", "94 4F707573 01 02 00000003", F.CONFIG),
    _audio("multichannel, custom", "94 4F707573 02 02 0001", F.CONFIG),
    _audio("multichannel, unspecified", "94 4F707573 00 06", F.CONFIG),
    _audio("multichannel of track 3", "95 04 4F707573 03 01 02 00000003", F.MULTITRACK | F.CONFIG),
    _audio("audio sequence end", "92 4F707573", F.END_OF_SEQUENCE),
    _audio("audio ModEx 4000 ns", "97 02 000FA0 01 4F707573 F8"),
    _audio("silence", "", F.EMPTY),
]

#: What ends too early or contradicts itself.
MALFORMED = [
    _video("legacy, one byte", "17", F.MALFORMED),
    _video("legacy h263, one byte", "12", F.MALFORMED),
    _video("legacy avc key cut in its CTS", "17 01 0000", F.MALFORMED),
    _video("legacy avc header cut in its CTS", "17 00 0000", F.MALFORMED),
    _video("legacy command without its code", "57", F.MALFORMED),
    _video("enhanced, FourCC cut", "91 687663", F.MALFORMED),
    _video("hevc key cut in its CTS", "91 68766331 0000", F.MALFORMED),
    _video("command without its code", "D1", F.MALFORMED),
    _video("ModEx without a size", "97", F.MALFORMED),
    _video("ModEx cut in its data", "97 02 0F42", F.MALFORMED),
    _video("ModEx without a packet type", "97 02 0F423F", F.MALFORMED),
    _video("ModEx cut in its long size", "97 FF 00", F.MALFORMED),
    _video("Multitrack in Multitrack", "96 06 61766331 00 000000 00000001", F.MALFORMED),
    _video("ModEx in Multitrack", "96 07 61766331 00 000000 00000001", F.MALFORMED),
    _video("OneTrack without a track id", "96 01 61766331", F.MALFORMED),
    _video("OneTrack cut in its CTS", "96 01 61766331 00 0000", F.MALFORMED),
    _video("ManyTracks without tracks", "96 10 68766331", F.MALFORMED),
    _video("ManyTracks, size beyond the end", "96 13 68766331 00 000003 0101", F.MALFORMED),
    _video("ManyTracks, size cut", "96 13 68766331 00 000002 0101 01 0000", F.MALFORMED),
    _video("ManyTracks, CTS cut in a track", "96 11 68766331 00 000002 0101 01 000000", F.MALFORMED),
    _video("ManyTracksManyCodecs, FourCC cut", "96 23 68766331 00 000001 01 6876", F.MALFORMED),
    _audio("aac, one byte", "AF", F.MALFORMED),
    _audio("enhanced, FourCC cut", "91 4F70", F.MALFORMED),
    _audio("Multitrack in Multitrack", "95 05 6D703461 01 2110", F.MALFORMED),
    _audio("multichannel without a count", "94 4F707573 01", F.MALFORMED),
    _audio("multichannel, mask cut", "94 4F707573 01 02 000000", F.MALFORMED),
    _audio("multichannel, channels cut", "94 4F707573 02 03 0001", F.MALFORMED),
    _audio("multichannel of track 3, mask cut", "95 04 4F707573 03 01 02 000000", F.MALFORMED),
]


def named(examples: list[Example]) -> list[str]:
    return [f"{'audio' if example.type_id == AUDIO else 'video'}: {example.name}" for example in examples]
