"""A picture that tells when it was made: colour bars under a strip of black and white blocks.

The blocks are the wall clock's milliseconds in binary: whoever reads them knows how old the picture is."""

from __future__ import annotations

import json
from pathlib import Path

#: Small: the browser of these tests has a slow machine, and no graphics card.
WIDTH, HEIGHT = 320, 180
FPS = 25
#: The strip of blocks on top: 16 of the time, 4 of a check, the highest bit at the left.
BLOCK_PX = 16
TIME_BITS, CHECK_BITS = 16, 4
#: The time starts anew after so many milliseconds.
PERIOD_MS = 1 << TIME_BITS

#: The bars from the left, as a viewer sees them (R, G, B), and as they are coded (Y, Cb, Cr of BT.601).
BARS = [
    ((180, 180, 180), (180, 128, 128)),
    ((180, 180, 16), (162, 44, 142)),
    ((16, 180, 180), (131, 156, 44)),
    ((16, 180, 16), (112, 72, 58)),
    ((180, 16, 180), (84, 184, 198)),
    ((180, 16, 16), (65, 100, 212)),
    ((16, 16, 180), (35, 212, 114)),
    ((16, 16, 16), (29, 128, 128)),
]
_WHITE, _BLACK = b"\xeb" * BLOCK_PX, b"\x10" * BLOCK_PX


def _bars_of_plane(plane: int, width: int, height: int) -> bytes:
    return b"".join(bytes([coded[plane]]) * (width // len(BARS)) for _, coded in BARS) * height


_LUMA = _bars_of_plane(0, WIDTH, HEIGHT - BLOCK_PX)
_CHROMA = tuple(
    bytes([128]) * (WIDTH // 2 * BLOCK_PX // 2)
    + _bars_of_plane(plane, WIDTH // 2, (HEIGHT - BLOCK_PX) // 2)
    for plane in (1, 2)
)


def check_of(time: int) -> int:
    """Four bits that tell a picture caught half changed, or scaled badly, from a good one."""
    return (time ^ time >> 4 ^ time >> 8 ^ time >> 12) & 15


def planes(unix_ms: int) -> tuple[bytes, bytes, bytes]:
    """Y, Cb and Cr of the picture of that moment, each without padding."""
    time = unix_ms % PERIOD_MS
    bits = time << CHECK_BITS | check_of(time)
    count = TIME_BITS + CHECK_BITS
    line = b"".join(_WHITE if bits >> count - 1 - at & 1 else _BLACK for at in range(count))
    return line * BLOCK_PX + _LUMA, *_CHROMA


def script() -> str:
    """For a page: ``clock_picture.js`` with the measures it needs."""
    measures = {
        "width": WIDTH, "height": HEIGHT, "block": BLOCK_PX, "timeBits": TIME_BITS, "checkBits": CHECK_BITS,
        "bars": len(BARS),
    }  # fmt: skip
    reader = Path(__file__).with_suffix(".js").read_text()
    return f"const CLOCK_PICTURE = {json.dumps(measures)};\n{reader}"
