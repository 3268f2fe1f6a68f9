"""Status codes and levels, and the information objects and commands that carry them.

RTMP 1.0, sections 7.2.1 and 7.2.2; the codes are those that encoders and players compare with.
"""

from __future__ import annotations

import enum

from cluster.core.amf.values import AmfValue
from cluster.core.rtmp.command import Command


class Level(enum.StrEnum):
    STATUS = "status"
    WARNING = "warning"
    ERROR = "error"


class Code(enum.StrEnum):
    """Codes that are sent or acted on; a peer may send any other."""

    CONNECT_SUCCESS = "NetConnection.Connect.Success"
    CONNECT_REJECTED = "NetConnection.Connect.Rejected"
    CONNECT_INVALID_APP = "NetConnection.Connect.InvalidApp"
    CONNECT_FAILED = "NetConnection.Connect.Failed"
    CONNECT_CLOSED = "NetConnection.Connect.Closed"
    CONNECT_APP_SHUTDOWN = "NetConnection.Connect.AppShutdown"
    CONNECT_RECONNECT_REQUEST = "NetConnection.Connect.ReconnectRequest"
    CALL_FAILED = "NetConnection.Call.Failed"
    PUBLISH_START = "NetStream.Publish.Start"
    PUBLISH_BAD_NAME = "NetStream.Publish.BadName"
    PUBLISH_DENIED = "NetStream.Publish.Denied"
    PUBLISH_IDLE = "NetStream.Publish.Idle"
    PUBLISH_REJECTED = "NetStream.Publish.Rejected"
    UNPUBLISH_SUCCESS = "NetStream.Unpublish.Success"
    PLAY_RESET = "NetStream.Play.Reset"
    PLAY_START = "NetStream.Play.Start"
    PLAY_STOP = "NetStream.Play.Stop"
    PLAY_COMPLETE = "NetStream.Play.Complete"
    PLAY_SWITCH = "NetStream.Play.Switch"
    PLAY_FAILED = "NetStream.Play.Failed"
    PLAY_STREAM_NOT_FOUND = "NetStream.Play.StreamNotFound"
    PLAY_PUBLISH_NOTIFY = "NetStream.Play.PublishNotify"
    PLAY_UNPUBLISH_NOTIFY = "NetStream.Play.UnpublishNotify"
    PLAY_INSUFFICIENT_BANDWIDTH = "NetStream.Play.InsufficientBW"
    PAUSE_NOTIFY = "NetStream.Pause.Notify"
    UNPAUSE_NOTIFY = "NetStream.Unpause.Notify"
    SEEK_NOTIFY = "NetStream.Seek.Notify"
    SEEK_FAILED = "NetStream.Seek.Failed"
    FAILED = "NetStream.Failed"


def information(level: str, code: str, description: str, **more: AmfValue) -> dict[str, AmfValue]:
    """The information object: level, code, description, then ``more`` in order."""
    return {"level": str(level), "code": str(code), "description": description, **more}


def on_status(stream_id: int, level: str, code: str, description: str, **more: AmfValue) -> Command:
    """onStatus with transaction id 0 and a null command object, on the stream's own message stream.

    GStreamer reads only those of its message stream.
    """
    info = information(level, code, description, **more)
    return Command("onStatus", 0.0, None, (info,), stream_id)


def result(command: Command, *args: AmfValue, command_object: AmfValue = None) -> Command:
    """``_result`` of ``command``. FFmpeg reads a createStream result at fixed offsets: null, number."""
    return Command("_result", command.transaction_id, command_object, args)


def error(command: Command, code: str, description: str, **more: AmfValue) -> Command:
    """``_error`` of ``command``, level "error"."""
    info = information(Level.ERROR, code, description, **more)
    return Command("_error", command.transaction_id, None, (info,))


def field(info: AmfValue, name: str) -> str:
    """The string member ``name`` of an information object; "" if there is none."""
    value = info.get(name) if isinstance(info, dict) else None
    return value if isinstance(value, str) else ""
