"""``rtmp-cluster status --watch``: the same every two seconds, on a screen or one after another."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.bus.reach import Reach
from cluster.commands.status import ask, targets
from cluster.commands.status_table import Answer, as_dict, summary, table
from cluster.core.errors import EnvironmentFault
from cluster.process.exit_codes import ExitCode

#: From one look to the next: workers report no more often.
WATCH_EVERY_S = 2.0

_Show = Callable[[Sequence[Answer]], None]


def watch_status(routers: Sequence[str], key_file: Path | None, as_json: bool) -> ExitCode:
    """Show what ``routers`` know, or with none what runs on this host, until Ctrl-C or SIGTERM;
    EnvironmentFault if a name is unknown first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is put back
    with contextlib.suppress(KeyboardInterrupt), _output(as_json) as show:
        known = targets(routers, key_file)
        while True:
            began_at = time.monotonic()
            show(ask(known))
            time.sleep(max(0.0, began_at + WATCH_EVERY_S - time.monotonic()))
            with contextlib.suppress(EnvironmentFault):  # while names cannot be looked up, the last hold
                known = targets(routers, key_file)
    return ExitCode.OK


def _output(as_json: bool) -> contextlib.AbstractContextManager[_Show]:
    console = Console(highlight=False)
    if as_json:
        return contextlib.nullcontext(lambda answers: click.echo(json.dumps(as_dict(answers))))
    if console.is_terminal and not console.is_dumb_terminal:
        return _on_screen(console)
    return contextlib.nullcontext(lambda answers: click.echo(f"{headline(answers)}\n{table(answers)}\n"))


@contextlib.contextmanager
def _on_screen(console: Console) -> Iterator[_Show]:
    """The terminal's other screen, so that what was there before is there again afterwards."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda answers: live.update(screenful(answers, console.height), refresh=True)


def headline(answers: Sequence[Answer]) -> str:
    """When it was, and how much there is."""
    return f"{time.strftime('%H:%M:%S')}  {summary(answers)}"


def screenful(answers: Sequence[Answer], height: int) -> Text:
    """The headline and as much of the table as ``height`` lines hold, with what needs a look in colour."""
    lines = [headline(answers), "", *table(answers).split("\n")]
    if len(lines) > height:
        lines[height - 1 :] = [f"… and {len(lines) - height + 1} more lines: make the terminal higher"]
    text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
    text.highlight_regex(r"(?m)^(ROUTER|NODE|STREAM) .*$", "bold")
    for reach in Reach:
        text.highlight_regex(rf"(?<= ){reach.word}(?= +- )", "bold red")
    text.highlight_regex(r"(?m)^! .*(\n  .*)*", "red")
    text.highlight_regex(r"(?m)\b(drain|routers \d+/\d+)$", "bold yellow")
    return text
