"""What a peer sees of a server: its streams, its complaints, how it ends and when, and what it wrote."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

#: A peer of ours may take so much longer than the same peer of the other server.
MARGIN_S = 8.0
#: A file of ours has at least this share of the other's packets, in each stream.
LEAST_SHARE = 0.7
#: The same of a file that ends after so many bytes: a group of pictures that comes first takes its room.
LEAST_SHARE_OF_BYTES = 0.3

_LEVELLED = re.compile(r"\[(?:warning|error|fatal|panic)\] (.*)")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_INPUT_STREAM = re.compile(r"Stream #\d+:\d+.*?: (Video|Audio|Subtitle|Data|Attachment): (\w+)")


@dataclass(slots=True)
class Sight:
    """``streams``: what the peer says it was offered, None if it does not say. ``seconds``: from the moment
    when both it and the publisher had begun; ``code`` is None if it had to be killed. ``written``: the
    streams in its file and the number of their packets."""

    streams: list[str] | None
    complaints: set[str]
    code: int | None
    seconds: float
    written: dict[str, int] | None = field(default=None)

    def has_worked(self) -> bool:
        empty = self.written is not None and (not self.written or not all(self.written.values()))
        return self.code == 0 and not empty


def differences(ours: Sight, theirs: Sight, least_share: float = LEAST_SHARE) -> list[str]:
    """What is worse at ours. What works at neither is an error of the test: it shows nothing."""
    if not theirs.has_worked():
        return [] if ours.has_worked() else [f"works at neither, which shows nothing: {ours}, {theirs}"]
    found = []
    if ours.code is None:
        found.append(f"does not end; there it takes {theirs.seconds:.1f} s")
    elif ours.code != theirs.code:
        found.append(f"ends with {ours.code}, there with {theirs.code}")
    elif ours.seconds > theirs.seconds + MARGIN_S:
        found.append(f"takes {ours.seconds:.1f} s, there {theirs.seconds:.1f} s")
    if ours.streams != theirs.streams:
        found.append(f"sees {ours.streams}, there {theirs.streams}")
    if new := sorted(ours.complaints - theirs.complaints):
        found.append(f"complains of {new}")
    if theirs.written is not None and ours.code is not None:
        found += _differences_in_files(ours.written or {}, theirs.written, least_share)
    return found


def _differences_in_files(ours: dict[str, int], theirs: dict[str, int], least_share: float) -> list[str]:
    if ours.keys() != theirs.keys():
        return [f"writes {sorted(ours)}, there {sorted(theirs)}"]
    return [
        f"writes {ours[stream]} packets of {stream}, there {count}"
        for stream, count in theirs.items() if ours[stream] < least_share * count
    ]  # fmt: skip


def levelled_complaints(log: str) -> set[str]:
    """The kinds of warnings in what FFmpeg logs with ``-loglevel level+info``."""
    return {_kind(found.group(1)) for line in log.splitlines() if (found := _LEVELLED.search(line))}


def complaints(log: str) -> set[str]:
    """The kinds of lines, where every line is a complaint."""
    return {_kind(line) for line in log.splitlines() if line.strip()}


def _kind(line: str) -> str:
    """A line without what differs from run to run."""
    return _NUMBER.sub("#", _ADDRESS.sub("", line)).strip()


def streams_of_ffmpeg(log: str) -> list[str]:
    """Of its input, from its log."""
    offered = log.partition("Input #0")[2].partition("Output #0")[0].partition("Stream mapping")[0]
    return sorted(f"{kind.lower()} {codec}" for kind, codec in _INPUT_STREAM.findall(offered))


def streams_in_json(text: str) -> list[str]:
    """As ffprobe writes them."""
    try:
        streams = json.loads(text)["streams"]
    except (ValueError, KeyError):
        return []
    return sorted(f"{stream.get('codec_type')} {stream.get('codec_name', '')}" for stream in streams)


def packets_in_file(file: Path) -> dict[str, int]:
    """The number of packets of each stream.

    FFprobe was once seen to list the tracks of a Matroska file twice. FFmpeg, which wrote it, takes one of
    a kind. So a file with two of a kind is read a second time, and that counts.
    """
    found = _packets_in_file(file)
    kinds = [stream.split()[1] for stream in found]
    return found if len(set(kinds)) == len(kinds) else _packets_in_file(file)


def _packets_in_file(file: Path) -> dict[str, int]:
    command = [
        "ffprobe", "-v", "error", "-count_packets", "-of", "json",
        "-show_entries", "stream=codec_type,codec_name,nb_read_packets", str(file),
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    try:
        streams = json.loads(done.stdout).get("streams", [])
    except ValueError:
        return {}
    return {
        f"{number} {stream['codec_type']} {stream.get('codec_name', '')}": int(
            stream.get("nb_read_packets", 0)
        )
        for number, stream in enumerate(sorted(streams, key=lambda stream: str(stream["codec_type"])))
    }
