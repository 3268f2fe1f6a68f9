"""What the API answers, as tables of 80 columns for people."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from cluster.process.words import printable

_WIDTH = 80
#: Columns in cells of a terminal, with a blank between; a negative width is that of text on the left.
_STREAM_WIDTHS = (-26, -12, -22, 7, 8)
_SESSION_WIDTHS = (-21, -3, -6, -21, -14, 10)
_NODE_WIDTHS = (-20, -8, 7, 6, 9, 7, 8, 8)
_ROUTER_WIDTHS = (-46, -14, 8, 8)

Item = Mapping[str, Any]


def streams(pages: Iterable[Item]) -> Iterator[str]:
    """Line by line."""
    yield _row(("STREAM", "ORIGIN", "TRACKS", "KBIT/S", "PLAYERS"), _STREAM_WIDTHS)
    for page in pages:
        shared = _shared((item["node"], item["id"]) for item in page["items"])
        for item in page["items"]:
            origin = f"…{item['id']}" if item["node"] in shared else item["node"]
            figures = (str(item["bits_per_second"] // 1000), str(item["players"]))
            cells = (item["key"], f"{origin}/{item['worker']}", _tracks(item), *figures)
            yield _row(cells, _STREAM_WIDTHS)
        yield from missing(page)


def sessions(pages: Iterable[Item]) -> Iterator[str]:
    yield _row(("SESSION", "", "KIND", "PEER", "STREAM", "STATE"), _SESSION_WIDTHS)
    for page in pages:
        for item in page["items"]:
            role = {"publisher": "pub", "player": "ply"}.get(item["role"], "-")
            late = f"{item['delay_ms'] / 1000:.1f}s late"
            state = late if item["state"] == "behind" else item["state"]
            cells = (item["session"], role, item["kind"], item["peer"], item["key"], state)
            yield _row(cells, _SESSION_WIDTHS)
        yield from missing(page)


def nodes(pages: Iterable[Item]) -> Iterator[str]:
    heads = ("NODE", "STATE", "WORKERS", "CONNS", "PUBLISHED", "PLAYERS", "IN/S", "OUT/S")
    yield _row(heads, _NODE_WIDTHS)
    for page in pages:
        shared = _shared((item["node"], item["id"]) for item in page["items"])
        for item in page["items"]:
            name = f"{item['node']}/{item['id']}" if item["node"] in shared else item["node"]
            cells = (
                name, item["state"], _workers(item["workers"]), str(item["connections"]),
                str(item["publishers"]), str(item["players"]), _bits(item["received_bits_per_s"]),
                _bits(item["sent_bits_per_s"]),
            )  # fmt: skip
            yield _row(cells, _NODE_WIDTHS)
        yield from missing(page)


def routers(page: Item) -> Iterator[str]:
    yield _row(("ROUTER", "STATE", "WORKERS", "STREAMS"), _ROUTER_WIDTHS)
    for item in page["items"]:
        state = f"{item['after_ms']:.0f} ms" if item["answers"] else "no answer"
        yield _row((item["router"], state, str(item["workers"]), str(item["streams"])), _ROUTER_WIDTHS)


def missing(page: Item) -> Iterator[str]:
    """Who has not answered."""
    for each in page["missing"]:
        yield from _said(f"node {each['node']} ({each['id']}), worker {each['worker']}: {each['why']}")
    for each in page["missing_routers"]:
        yield from _said(f"router {each['router']}: {each['why']}")
    if not page["complete"] and not page["missing"]:
        yield from _said("no router has answered: nothing is known of other nodes")


def _said(text: str) -> list[str]:
    width = _WIDTH if text.isascii() else _WIDTH // 2  # a character may take two cells
    return textwrap.wrap(printable(text), width, initial_indent="! ", subsequent_indent="  ")


def _shared(nodes: Iterable[tuple[str, str]]) -> set[str]:
    """The names that several nodes have, of these names and ids."""
    counts = Counter(name for name, _ in set(nodes))
    return {name for name, count in counts.items() if count > 1}


def _workers(workers: Sequence[Item]) -> str:
    """How many there are, and how many of them serve if that is less."""
    serving = sum(each["state"] in ("ok", "draining") for each in workers)
    return str(serving) if serving == len(workers) else f"{serving} of {len(workers)}"


def _tracks(item: Item) -> str:
    """Codecs, and the size and rate of the picture."""
    shown = []
    for track in item["tracks"]:
        size = f" {track['height']}p{track['fps']:.0f}" if track["kind"] == "video" else ""
        shown.append(f"{track['codec']}{size}")
    return " ".join(shown) or item["codecs"]


def _bits(per_s: float) -> str:
    for unit in ("bit", "kbit", "Mbit", "Gbit"):
        if per_s < 1000 or unit == "Gbit":
            return f"{per_s:.{int(0 < per_s < 10 and unit != 'bit')}f}{unit}"
        per_s /= 1000
    raise AssertionError("unreachable")


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A cell that is too long is cut, but for the first."""
    shown = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = printable(cell)
        if cell_len(text) > abs(width) and index:
            text = f"{set_cell_size(text, abs(width) - 1)}…"
        room = " " * max(0, abs(width) - cell_len(text))
        shown.append(text + room if width < 0 else room + text)
    return " ".join(shown).rstrip()
