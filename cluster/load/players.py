"""The player that an address needs, of the protocol that its scheme and suffix name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cluster.core.rtmp.url import RtmpUrl
from cluster.load.dialogue import Dialogue
from cluster.load.hls_dialogue import HlsDialogue
from cluster.load.hls_player import HlsPlayer
from cluster.load.http_dialogue import HttpDialogue, WebSocketDialogue
from cluster.load.http_url import Form, HttpUrl
from cluster.load.peer import Common, Conversation
from cluster.load.player import Player
from cluster.load.tally import Role


def new_player(
    common: Common, url: RtmpUrl | HttpUrl, *, sampled: bool, by_timer: bool, slow_bytes_per_s: float,
    media_starts_ns: dict[int, int] | None, retry_until_ns: int,
) -> Player:  # fmt: skip
    """A player of ``url``, with what ``Player`` is to be told; to be connected."""
    if isinstance(url, HttpUrl) and url.form is Form.HLS:
        return HlsPlayer(common, partial(HlsDialogue, url), sampled=sampled, retry_until_ns=retry_until_ns)
    converse: Callable[[], Conversation]
    if isinstance(url, RtmpUrl):
        converse = partial(Dialogue, Role.PLAYER, url, common.chunk_size)
    elif url.web_socket:
        converse = partial(WebSocketDialogue, url)
    else:
        converse = partial(HttpDialogue, url)
    return Player(
        common, converse, sampled=sampled, by_timer=by_timer, slow_bytes_per_s=slow_bytes_per_s,
        # Over HTTP a server counts from where it began to serve a stream so.
        media_starts_ns=media_starts_ns if isinstance(url, RtmpUrl) else None,
        retry_until_ns=retry_until_ns,
    )  # fmt: skip
