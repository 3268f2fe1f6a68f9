"""A connected TCP socket to a host of several addresses: the first that answers (RFC 8305, in short)."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any, TypeAlias

#: After this long without an answer of an address, the next one is tried beside it.
NEXT_ADDRESS_AFTER_S = 0.25

#: As getaddrinfo has it: family, type, protocol, canonical name, address.
_Info: TypeAlias = tuple[Any, Any, int, str, Any]
_Attempt: TypeAlias = asyncio.Task[socket.socket]


async def connected_socket(host: str, port: int) -> socket.socket:
    """OSError of the first address if none answers. A cancelled call leaves no socket open."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    attempts: list[_Attempt] = []
    winner: _Attempt | None = None
    try:
        for info in _families_by_turns(infos):
            attempts.append(loop.create_task(_connect(info)))
            winner = await _first_connected(attempts, NEXT_ADDRESS_AFTER_S)
            if winner is not None:
                break
        winner = winner or await _first_connected(attempts, None)
        if winner is None:
            attempts[0].result()  # raises
            raise AssertionError("an attempt that neither connected nor failed")
        return winner.result()
    finally:
        await _drop([attempt for attempt in attempts if attempt is not winner])


async def _connect(info: _Info) -> socket.socket:
    family, kind, protocol, _, address = info
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _first_connected(attempts: list[_Attempt], timeout_s: float | None) -> _Attempt | None:
    """The first attempt that has connected; None if all have failed or the time is up."""
    deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    while True:
        for attempt in attempts:
            if attempt.done() and attempt.exception() is None:
                return attempt
        pending = [attempt for attempt in attempts if not attempt.done()]
        left_s = None if deadline is None else deadline - asyncio.get_running_loop().time()
        if not pending or (left_s is not None and left_s <= 0):
            return None
        await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)


async def _drop(unneeded: list[_Attempt]) -> None:
    """End attempts that are not needed."""
    for attempt in unneeded:
        attempt.cancel()
    if unneeded:
        await asyncio.wait(unneeded)
    for attempt in unneeded:
        if not attempt.cancelled() and attempt.exception() is None:
            attempt.result().close()


def _families_by_turns(infos: list[_Info]) -> list[_Info]:
    """The addresses in the resolver's order, but IPv6 and IPv4 by turns: one of them may lead nowhere."""
    by_family: dict[int, list[_Info]] = {}
    for info in infos:
        by_family.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*by_family.values())
    return [info for one_round in rounds for info in one_round if info is not None]
