"""Text made small for those who take it so: playlists, as Apple's profile of low latency asks for.

What is the same for many is compressed once. Media does not get smaller.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

from cluster.edge.http.answer import Answer
from cluster.edge.http.request import Request

#: Texts that are kept as they are compressed: those of as many streams, and a few of each.
_KEPT_TEXTS: Final = 256
#: The first levels are as fast, and the higher ones make the text of a playlist no smaller.
_LEVEL: Final = 4
_GZIP_BITS: Final = 31  # the largest window, with the head and the end of gzip


def fitted(answer: Answer, request: Request) -> Answer:
    """``answer`` as the sender of ``request`` takes it best."""
    if not answer.is_text or not request.takes_gzip:
        return answer
    [text] = answer.body
    return answer._replace(body=[_compressed(bytes(text))], coding="gzip")


@lru_cache(_KEPT_TEXTS)
def _compressed(text: bytes) -> bytes:
    return zlib.compress(text, _LEVEL, _GZIP_BITS)
