"""Horizontal bars as an SVG file that needs nothing else, in light and in dark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_WIDTH = 720
_NAME_WIDTH, _VALUE_WIDTH = 210, 60
_BAR, _STEP, _HEAD, _GAP = 14, 20, 26, 14

_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600 }
.name { text-anchor: end }
rect { fill: #8c959f }
.own { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  rect { fill: #6e7681 }
  .own { fill: #4493f8 }
}
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Bars of one scale: values that are not negative, by name."""

    title: str
    bars: dict[str, float]


def bar_chart(groups: list[Group]) -> str:
    """The groups one below the other, each on a scale of its own; the edge's bars stand out."""
    parts: list[str] = []
    y = 0
    for group in groups:
        parts.append(f'<text class="head" x="0" y="{y + 16}">{escape(group.title)}</text>')
        y += _HEAD
        highest = max(group.bars.values(), default=0.0) or 1.0
        for name, value in group.bars.items():
            width = value / highest * (_WIDTH - _NAME_WIDTH - _VALUE_WIDTH)
            own = ' class="own"' if name.startswith("edge") else ""
            baseline = y + _BAR - 3
            parts += [
                f'<text class="name" x="{_NAME_WIDTH - 8}" y="{baseline}">{escape(name)}</text>',
                f'<rect{own} x="{_NAME_WIDTH}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>',
                f'<text x="{_NAME_WIDTH + width + 6:.1f}" y="{baseline}">{value:#.3g}</text>',
            ]
            y += _STEP
        y += _GAP
    height = max(0, y - _GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img">\n<style>\n{_STYLE}</style>\n'
        + "\n".join(parts) + "\n</svg>\n"
    )  # fmt: skip
