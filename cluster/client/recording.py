"""A recording of what is played: a file that comes into being with the first frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from cluster.client.flv_sink import FlvSink
from cluster.core.media.classify import is_coded
from cluster.core.media.headers import Headers
from cluster.core.message import Message
from cluster.process.files import check_writable

if TYPE_CHECKING:
    from types import TracebackType


class Recording:
    """Writes an FLV file from the first audio or video frame on, with the metadata and headers before it.

    Until then there is no file, and one of that name stays as it is: headers alone are no recording.
    EnvironmentFault, at once or later, if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers: Headers[Message] = Headers()
        self._sink: FlvSink | None = None
        check_writable(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._sink is not None:
            self._sink.close()

    def write(self, message: Message) -> None:
        """Append a message, or remember it if it is a header in front of the first frame."""
        if self._sink is None:
            if not is_coded(message):
                self._headers.remember(message)
                return
            self._sink = FlvSink(self._path)
            for header in self._headers.in_order():
                self._sink.write(header._replace(timestamp=message.timestamp))
        self._sink.write(message)
