"""The floor: a bare loop that sends one synthetic stream to many players, and does nothing else.

It lets every player in with the project's own server role, and then forgets RTMP. What it costs is the
kernel's price for these writes plus the least Python can add; a server cannot be cheaper at the same
batching. ``floor_of_many`` is the same for many streams.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.guest import CHUNK_SIZE, Guest
from cluster.core.message import MessageType
from cluster.load.media import Script, StreamShape, Template, synthetic_script

_STREAM_ID = 1


def serve(players: int, batch_ms: int, *, hold_audio: bool) -> None:
    """Let ``players`` in, send the stream to all of them until one leaves, and wait to be ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=players) as server:
        print(server.getsockname()[1], flush=True)
        playing: list[socket.socket] = []
        while len(playing) < players:
            sock, _ = server.accept()
            guest = Guest(sock)
            while guest.plays is None and guest.read():
                pass
            if guest.plays is None:
                sock.close()
            else:
                playing.append(sock)
    script = synthetic_script(StreamShape(), chunk_size=CHUNK_SIZE, stream_id=_STREAM_ID)
    try:
        _send_stream(playing, batch_ms * 1_000_000, script, hold_audio=hold_audio)
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        for sock in playing:
            sock.close()
    signal.pause()


def _send_stream(
    sockets: list[socket.socket], batch_ns: int, script: Script, *, hold_audio: bool
) -> None:
    """Send each message at its moment; with ``batch_ns`` so long after the first that waits, all that do:
    as a latency budget does. With ``hold_audio`` audio waits for the next video, as in the edge."""
    for sock in sockets:
        sock.sendall(script.preamble)
        sock.setblocking(False)
    sent: Counter[int] = Counter()
    waiting: list[bytes] = []

    def flush() -> None:
        data = b"".join(waiting)
        waiting.clear()
        for sock in sockets:
            sock.send(data)

    start = time.monotonic_ns()
    flush_ns: int | None = None
    for due_ns, template in _endless(script):
        if flush_ns is not None and flush_ns <= due_ns:
            _sleep_until(start + flush_ns)
            flush()
            flush_ns = None
        _sleep_until(start + due_ns)
        stamped = template.stamped(due_ns // 1_000_000, sent[template.type_id], time.monotonic_ns())
        waiting.append(bytes(stamped))
        sent[template.type_id] += 1
        if hold_audio and template.type_id == MessageType.AUDIO:
            continue
        if not batch_ns:
            flush()
        elif flush_ns is None:
            flush_ns = due_ns + batch_ns


def _endless(script: Script) -> Iterator[tuple[int, Template]]:
    """The script over and over: when each message is due, from the beginning."""
    for cycle in itertools.count():
        for template in script.templates:
            yield cycle * script.period_ns + template.offset_ns, template


def _sleep_until(moment_ns: int) -> None:
    remaining = moment_ns - time.monotonic_ns()
    if remaining > 0:
        time.sleep(remaining / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--players", type=int, required=True)
    parser.add_argument("--batch-ms", type=int, default=0)
    parser.add_argument("--hold-audio", action="store_true")
    options = parser.parse_args()
    serve(options.players, options.batch_ms, hold_audio=options.hold_audio)


if __name__ == "__main__":
    main()
