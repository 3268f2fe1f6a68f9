"""The floor of many streams: a bare loop that hands each publisher's bytes to the players of its stream.

It lets everybody in with the project's own server role, and then forgets RTMP: what comes from a publisher
is sent as it is, unparsed, which serves players because their chunks are as large as the publishers'. Audio
waits in the kernel for the next video, as in the edge. What it costs is the kernel's price for these reads
and writes plus the least Python can add.
"""

from __future__ import annotations

import argparse
import select
import signal
import socket
import time
from collections import defaultdict

from benchmarks.guest import Guest

#: Less than this is audio, which does not wake the loop by itself: two of its messages come between two
#: frames, and a frame of a stream of 1 Mbit/s is larger.
LOW_WATER_BYTES = 1_500
_READ_BYTES = 65536

#: By file descriptor: a publisher's socket, and those of its players.
Routes = dict[int, tuple[socket.socket, list[socket.socket]]]


def serve(streams: int, players: int, batch_ms: int) -> None:
    """Let so many publishers and players in, forward until one leaves, and wait to be ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=streams + players) as server:
        print(server.getsockname()[1], flush=True)
        guests = let_in(server, streams, players)
    try:
        forward(routes(guests), batch_ms / 1000)
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        for guest in guests:
            guest.sock.close()
    signal.pause()


def let_in(server: socket.socket, streams: int, players: int) -> list[Guest]:
    """Talk until so many publish and so many play; what is published meanwhile is read and dropped."""
    guests: dict[int, Guest] = {}
    lacking = streams + players
    with select.epoll() as epoll:
        epoll.register(server, select.EPOLLIN)
        while lacking:
            for fd, _ in epoll.poll():
                if fd == server.fileno():
                    sock, _ = server.accept()
                    guests[sock.fileno()] = Guest(sock)
                    epoll.register(sock, select.EPOLLIN)
                    continue
                guest = guests[fd]
                was_in = guest.is_in
                if guest.read():
                    lacking -= guest.is_in - was_in
                else:
                    lacking += was_in
                    del guests[fd]
                    guest.sock.close()
    return list(guests.values())


def routes(guests: list[Guest]) -> Routes:
    """Who gets whose bytes, from the next message of each publisher on."""
    players: defaultdict[str, list[socket.socket]] = defaultdict(list)
    for guest in guests:
        if guest.plays is not None:
            players[guest.plays].append(guest.sock)
    found: Routes = {}
    for guest in guests:
        if guest.publishes is not None:
            guest.finish_message()
            guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER_BYTES)
            found[guest.sock.fileno()] = guest.sock, players[guest.publishes]
    for guest in guests:
        guest.sock.settimeout(None)  # a send then takes all, and costs no look at the socket before
    return found


def forward(found: Routes, batch_s: float) -> None:
    """Until a publisher leaves. With ``batch_s`` so long after the first that is ready, all that are: as a
    latency budget does."""
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    with select.epoll() as epoll:
        for fd in found:
            epoll.register(fd, select.EPOLLIN)
        while True:
            ready = epoll.poll()
            if batch_s:
                time.sleep(batch_s)
                ready = epoll.poll(0)
            for fd, _ in ready:
                publisher, players = found[fd]
                count = publisher.recv_into(buffer)
                if not count:
                    return
                data = view[:count]
                for player in players:
                    player.send(data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor_of_many", description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--players", type=int, required=True)
    parser.add_argument("--batch-ms", type=int, default=0)
    options = parser.parse_args()
    serve(options.streams, options.players, options.batch_ms)


if __name__ == "__main__":
    main()
