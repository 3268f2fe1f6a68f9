"""The metadata and sequence headers of a stream, as far as its messages told them."""

from __future__ import annotations

from cluster.core.media.headers import HeaderKey, header_key, header_order, is_empty_header
from cluster.core.message import Message

#: As many tracks as anybody sends, several times over.
MAX_HEADERS = 48


class Headers:
    """Remembers the latest header of each kind and track."""

    def __init__(self) -> None:
        self._known: dict[HeaderKey, Message] = {}

    def is_known(self, message: Message) -> bool:
        """Whether this is a header that was the latest of its kind already; remembers it if not."""
        key = header_key(message.type_id, message.payload)
        if key is None:
            return False
        known = self._known.get(key)
        if known is not None:
            if known.payload == message.payload:
                return True
            if is_empty_header(message.type_id, message.payload):
                return False
        if known is not None or len(self._known) < MAX_HEADERS:
            self._known[key] = message
        return False

    def replay(self, timestamp: int) -> list[Message]:
        """All of them in the order a decoder needs, stamped ``timestamp``."""
        ordered = sorted(self._known.items(), key=lambda item: header_order(item[0]))
        return [message._replace(timestamp=timestamp) for _, message in ordered]
