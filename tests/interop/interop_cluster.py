"""What the rows of the table share: the cluster under test, and the clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matrix import Media, Scheme, Worker
from workbench import CLIP_S

from support.cluster_process import Edge
from support.ffmpeg import make_clip


@dataclass(frozen=True, slots=True)
class Cluster:
    """A publisher on ``same`` and its players on either: the same worker, or another at the same router."""

    same: Edge
    other: Edge
    #: What both show to those who come by RTMPS.
    certificate: Path

    def url(self, name: str, scheme: Scheme, worker: Worker) -> str:
        edge = self.same if worker == "same" else self.other
        return edge.tls_url(name) if scheme == "rtmps" else edge.url(name)

    def total(self, metric: str) -> float:
        return self.same.metrics().total(metric) + self.other.metrics().total(metric)


class Clips:
    """The clip of each kind of media, made when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Path] = {}

    def of(self, media: Media) -> Path:
        if media.name not in self._made:
            if media.make is None:
                clip = self._directory / "clip.flv"
                make_clip(clip, seconds=CLIP_S)
            else:
                clip = media.make(self._directory, self._plain())
            self._made[media.name] = clip
        return self._made[media.name]

    def _plain(self) -> Path:
        plain = self._directory / "clip.flv"
        if not plain.exists():
            make_clip(plain, seconds=CLIP_S)
        return plain
