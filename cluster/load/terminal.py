"""The load in a terminal: a live view while it runs, a line now and then where there is none, a table."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.load.job import LoadPlan
from cluster.load.result import LoadResult
from cluster.load.summary import PERCENTILES, Result, amount, distributions, facts, headline, milliseconds

#: Of the table.
WIDTH = 100
#: How often a line is written where there is no terminal.
LINE_EVERY_S = 5
#: Without a terminal, so long is waited for the server without a word.
SLOW_S = 3.0
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_SECONDS = 60


class LiveView:
    """Shows a result as it grows: ``with LiveView(plan, stderr) as view: run_load(plan, watch=view)``."""

    def __init__(self, plan: LoadPlan, output: TextIO) -> None:
        self._plan = plan
        self._console = Console(file=output)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._delays: list[float] = []
        self._seen = 0
        self._slow = threading.Timer(SLOW_S, self._say, [f"{plan.url}: waiting for the server"])
        self._slow.daemon = True

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
            self._live.update(Text(f"{self._plan.url}: connecting"), refresh=True)
        else:
            self._slow.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._slow.cancel()
        self._live.stop()

    def __call__(self, result: LoadResult) -> None:
        self._slow.cancel()
        if not result.seconds:
            return
        second = max(result.seconds)
        row = result.timeline_row(second)
        if self._console.is_terminal:
            self._live.update(self._view(second, row), refresh=True)
        elif self._seen % LINE_EVERY_S == 0:
            told = ", ".join(f"{name} {text}" for name, text in self._facts(row))
            self._say(f"{self._phase(second)}: {told}")
        self._seen += 1

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def _phase(self, second: int) -> str:
        if second >= 0:
            return f"measuring, second {second + 1} of {self._plan.duration_s:g}"
        return "settling" if second >= -self._plan.settle_s else "players join"

    def _facts(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        """The last second."""
        found = []
        if self._plan.publishers:
            found.append(("publishers", f"{row['publishing']:,}"))
        if self._plan.players:
            found.append(("players", f"{row['playing']:,} of {self._plan.players:,}"))
            found.append(("received", amount(row["received_bits_per_s"], "bit/s")))
        else:
            found.append(("sent", amount(row["sent_bits_per_s"], "bit/s")))
        delay = row["delay_ms"]
        if delay["count"]:
            found.append(("delay", f"{milliseconds(delay['p50'])} ms, p99 {milliseconds(delay['p99'])} ms"))
        found += [(name, f"{row[name]:,}") for name in ("stalls", "disconnects") if row[name]]
        if row["server_cpu_share"] is not None:
            found.append(("server", f"{row['server_cpu_share']:.0%} of a core"))
        found.append(("generator", f"{row['generator_cpu_share']:.0%} of a core"))
        return found

    def _view(self, second: int, row: dict[str, Any]) -> Group:
        plan = self._plan
        before_s = plan.ramp_s + plan.settle_s
        bar = Table.grid()  # which ends the line, as a bar itself does not
        bar.add_row(ProgressBar(before_s + plan.duration_s, before_s + second + 1, width=60))
        grid = Table.grid(padding=(0, 2))
        for name, text in self._facts(row):
            grid.add_row(Text(name, style="bold"), text)
        if row["delay_ms"]["count"]:
            self._delays = [*self._delays, row["delay_ms"]["p99"]][-_SPARK_SECONDS:]
            grid.add_row(Text("delay p99", style="bold"), Text(_sparks(self._delays), style="cyan"))
        return Group(Text(f"{plan.url}: {self._phase(second)}"), bar, grid)


def _sparks(values: list[float]) -> str:
    highest = max(values) or 1.0
    return "".join(_SPARKS[int(value / highest * (len(_SPARKS) - 1))] for value in values)


def print_result(result: Result, output: TextIO) -> None:
    """The result as a table, and what to mind about it."""
    console = Console(file=output, width=WIDTH, highlight=False)
    console.print(Text(result["url"], style="bold"))
    console.print(Text(headline(result)))
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("milliseconds")
    for name in (*PERCENTILES, "count"):
        table.add_column(name.replace("_", "."), justify="right")
    for name, values in distributions(result):
        table.add_row(name, *values)
    console.print(table)
    console.print()
    grid = Table.grid(padding=(0, 2))
    for name, text in facts(result):
        grid.add_row(Text(name, style="bold"), Text(text))
    console.print(grid)
    if result["complaints"]:
        console.print()
    for complaint in result["complaints"]:
        console.print(Text.assemble(("! ", "bold yellow"), complaint))

