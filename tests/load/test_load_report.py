"""What people see of a result: the table, the live view and the page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from load_support import SECOND_NS, plan, report, result

from cluster.core.rtmp.url import RtmpUrl
from cluster.load import terminal
from cluster.load.histogram import Histogram
from cluster.load.plots import WIDTH as WIDTH_OF_PLOT
from cluster.load.plots import Shade, line_plot
from cluster.load.report import html_report
from cluster.load.result import LoadResult
from cluster.load.summary import amount, distributions, facts, milliseconds
from cluster.load.terminal import WIDTH, LiveView, print_result
from support.polling import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


_FETCHING = {"src", "href", "xlink:href", "data", "action"}


class _Checker(HTMLParser):
    """Tags, and attributes that fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [name for name, _ in attrs if name in _FETCHING]


def test_the_page_needs_nothing_else() -> None:
    page = html_report(result(pids=(1,)).as_dict())
    checker = _Checker()
    checker.feed(page)
    assert checker.fetched == []
    assert not {"script", "link", "img", "iframe", "object"} & set(checker.tags)
    assert re.search(r"https?://|@import|url\(", page) is None
    assert checker.tags.count("svg") == 6  # without trouble, no plot of it
    for plot in re.findall(r"<svg.*?</svg>", page):
        ElementTree.fromstring(plot)


def test_what_a_server_or_a_user_wrote_stays_text() -> None:
    made = result(url=RtmpUrl.parse("rtmp://h/live/<script>alert(1)</script>"))
    made.faults.append("<img src=x onerror=alert(1)>")
    checker = _Checker()
    checker.feed(html_report(made.as_dict()))
    assert not {"script", "img"} & set(checker.tags)


def test_the_page_says_what_is_wrong_before_it_says_anything_else() -> None:
    made = result()
    made.faults.append("the generator fell over")
    page = html_report(made.as_dict())
    order = ["</h1>", "the generator fell over", "2 publishers", "<table", "<figure"]
    assert sorted(order, key=page.index) == order
    assert "warnings" not in html_report(result().as_dict()).partition("</style>")[2]


def test_the_page_says_who_put_the_load_on_and_how() -> None:
    made = result()
    made.command, made.host = "rtmp-cluster load rtmp://h/<live>", "lab7: 2 x CPU"
    page = html_report(made.as_dict())
    assert "<pre>rtmp-cluster load rtmp://h/&lt;live&gt;</pre>" in page
    assert "on lab7: 2 x CPU</p>" in page
    made.command = ""
    assert "<pre>" not in html_report(made.as_dict())


def test_the_time_before_measuring_is_shaded_in_each_plot_over_time() -> None:
    made = result(pids=(1,))
    for second in (-4, -3, -2):
        made.add(0, report(second))
        made.seconds[second].ended_ns = (second + 1) * SECOND_NS
    page = html_report(made.as_dict())
    plots = re.findall(r"<figure>.*?</figure>", page)
    shaded = [plot for plot in plots if 'rect class="shade"' in plot]
    assert len(shaded) == len(plots) - 1, "all but the curve of percentiles"
    for plot in shaded:
        # The seconds end at -3, -2, -1 and 0, and then at 1, 2 and 3.
        (shape,) = re.findall(r'class="shade" x="([\d.]+)" y="0" width="([\d.]+)"', plot)
        assert [float(number) for number in shape] == [0, WIDTH_OF_PLOT / 2]
        assert "players join, then settle</span>" in plot


def test_more_than_all_of_it_delivered_is_explained() -> None:
    made = result()
    rows = dict(facts(made.as_dict()))
    assert rows["delivered"].startswith("100.0% of")
    assert "Above 100%" not in rows["delivered"]
    made.seconds[1].tally.received_bytes += 1000
    rows = dict(facts(made.as_dict()))
    assert re.match(r"10\d\.\d% of .* Above 100%: ", rows["delivered"])


def test_a_page_of_a_run_without_anything() -> None:
    checker = _Checker()
    checker.feed(html_report(LoadResult(plan()).as_dict()))
    assert "svg" not in checker.tags
    assert "table" in checker.tags


def test_the_table_fits() -> None:
    output = io.StringIO()
    made = result(pids=(1,))
    made.faults.append("a long complaint " * 20)
    print_result(made.as_dict(), output)
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(" ".join(lines).split())
    assert "delay, publish to play 2.0" in text
    assert "20 of 20 playing" in text
    assert "25.000 ms a player-second; 40 MiB in 2 processes" in text


def test_delays_of_a_medium_stand_below_the_whole_where_there_are_any() -> None:
    def rows(made: LoadResult) -> list[str]:
        return [name for name, _ in distributions(made.as_dict())]

    made = result()
    assert rows(made)[:3] == ["delay, publish to play", "delay of video alone", "delay of audio alone"]
    assert "<th>delay of audio alone</th>" in html_report(made.as_dict())
    for second in made.seconds.values():
        second.tally.audio_delay = Histogram()
    assert rows(made)[:2] == ["delay, publish to play", "delay of video alone"]
    assert "audio" not in " ".join(rows(made))
    assert rows(LoadResult(plan()))[1] == "join: to the first frame"


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    output = io.StringIO()
    made = LoadResult(plan(processes=2))
    with LiveView(made.plan, output) as view:
        view(made)
        for second in range(-2, 5):
            made.seconds[second] = result().seconds[0]
            view(made)
    lines = output.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["players join", "measuring, second 4 of 3"]
    assert "delay 2.0" in lines[0]
    assert "\x1b" not in output.getvalue()


def test_without_a_terminal_a_slow_server_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SLOW_S", 0.01)
    output = io.StringIO()
    with LiveView(plan(), output):
        wait_until(output.getvalue, "the line")
    assert output.getvalue() == "rtmp://media.example/live/show: waiting for the server\n"
    monkeypatch.setattr(terminal, "SLOW_S", 60.0)
    quick = io.StringIO()
    with LiveView(plan(), quick) as view:
        view(LoadResult(plan()))
    assert quick.getvalue() == ""


def test_a_terminal_has_a_view_that_goes_away() -> None:
    output = Terminal()
    made = result()
    with LiveView(made.plan, output) as view:
        view(made)
    assert "measuring, second 3 of 3" in output.getvalue()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()).splitlines()
    assert {"publishers", "players", "delay", "server"} <= {line.split()[0] for line in lines if line}


@pytest.mark.parametrize(
    ("value", "unit", "base", "text"),
    [
        (0, "B", 1000, "0 B"), (999, "B", 1000, "999 B"), (2_500_000, "bit/s", 1000, "2.5 Mbit/s"),
        (1 << 30, "B", 1024, "1 GiB"), (1000 << 20, "B", 1024, "1000 MiB"), (5e17, "B", 1000, "500000 TB"),
    ],
)  # fmt: skip
def test_amounts(value: float, unit: str, base: int, text: str) -> None:
    assert amount(value, unit, base) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "\N{EN DASH}"), (0.123, "0.12"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    "points", [[(0.0, 0.0)], [(0.0, 3.0), (1.0, None), (2.0, 1e9)], [(5.0, 1e-9), (6.0, 2e-9)]]
)
def test_any_line_is_drawn_inside_the_plot(points: list[tuple[float, Any]]) -> None:
    plot = line_plot("t", {"s": points, "none": [(0, None)]}, y_text=str, x_text=str, x_title="x")
    lines = re.findall(r'points="([^"]*)"', plot)
    drawn = [float(number) for line in lines for number in re.split("[ ,]", line)]
    assert drawn
    assert all(0 <= number <= 720 for number in drawn)
    assert ">none<" not in plot


@pytest.mark.parametrize("shade", [Shade(-9, -5, "before"), Shade(5, 9, "after")])
def test_a_shade_outside_the_plot_is_not_drawn_nor_named(shade: Shade) -> None:
    plot = line_plot("t", {"s": [(0, 1), (4, 2)]}, y_text=str, x_text=str, x_title="x", shade=shade)
    assert "shade" not in plot
    assert shade.name not in plot


def test_numbers_below_a_plot_give_way_on_a_narrow_screen() -> None:
    points = [(float(x), 1.0) for x in range(11)]
    plot = line_plot("t", {"s": points}, y_text=str, x_text="{:g}".format, x_title="x")
    labels = re.findall(r'<span( class="wide")? style="left:([\d.]+)%">', plot)
    kept = [float(left) for wide, left in labels if not wide]
    assert len(labels) == 11
    assert 4 <= len(kept) < 11
    assert min(after - before for before, after in pairwise(kept)) >= 14
    assert kept[-1] == 100
