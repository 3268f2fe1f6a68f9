"""The floor: a bare loop that sends one synthetic stream to many sockets, and does nothing else.

What it costs is the kernel's price for these writes plus the least Python can add; a server cannot
be cheaper at the same batching.
"""

from __future__ import annotations

import argparse
import socket
import time

from benchmarks.media import StreamShape


def serve(sockets: int, *, batch_ms: int, shape: StreamShape) -> None:
    """Accept ``sockets`` connections, then send until a peer closes."""
    with socket.create_server(("127.0.0.1", 0), backlog=sockets) as server:
        print(server.getsockname()[1], flush=True)
        accepted = [server.accept()[0] for _ in range(sockets)]
    for sock in accepted:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        _send_stream(accepted, batch_ms * 1_000_000, shape)
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        for sock in accepted:
            sock.close()


def _send_stream(sockets: list[socket.socket], batch_ns: int, shape: StreamShape) -> None:
    templates = shape.templates
    start = time.monotonic_ns()
    flush_at = start
    waiting: list[bytes] = []
    sequence = 0
    while True:
        cycle, position = divmod(sequence, len(templates))
        template = templates[position]
        due_offset = cycle * shape.period_ns + template.offset_ns
        _sleep_until(start + due_offset)
        if not waiting:
            flush_at = time.monotonic_ns() + batch_ns
        waiting.append(bytes(template.stamped(due_offset // 1_000_000, sequence)))
        sequence += 1
        if time.monotonic_ns() >= flush_at:
            data = b"".join(waiting)
            waiting.clear()
            for sock in sockets:
                sock.send(data)


def _sleep_until(moment_ns: int) -> None:
    remaining = moment_ns - time.monotonic_ns()
    if remaining > 0:
        time.sleep(remaining / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--sockets", type=int, required=True)
    parser.add_argument("--batch-ms", type=int, default=0)
    parser.add_argument("--chunk-size", type=int, default=4096)
    options = parser.parse_args()
    serve(options.sockets, batch_ms=options.batch_ms, shape=StreamShape(chunk_size=options.chunk_size))


if __name__ == "__main__":
    main()
