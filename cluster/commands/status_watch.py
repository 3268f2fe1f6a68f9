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

from cluster.bus import cluster_key
from cluster.commands.status import Answer, as_dict, ask, resolved, table
from cluster.core.errors import EnvironmentFault
from cluster.process.exit_codes import ExitCode

#: From one look to the next: workers report no more often.
WATCH_EVERY_S = 2.0

_Show = Callable[[Sequence[Answer]], None]


def watch_status(routers: Sequence[str], key_file: Path | None, as_json: bool) -> ExitCode:
    """Show what ``routers`` know until Ctrl-C or SIGTERM; EnvironmentFault if a name is unknown first."""
    key = None if key_file is None else cluster_key.load(key_file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is put back
    with contextlib.suppress(KeyboardInterrupt), _output(as_json) as show:
        known = resolved(routers)
        while True:
            began_at = time.monotonic()
            show(ask(known, key))
            time.sleep(max(0.0, began_at + WATCH_EVERY_S - time.monotonic()))
            with contextlib.suppress(EnvironmentFault):  # while names cannot be looked up, the last hold
                known = resolved(routers)
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
    known = as_dict(answers)
    streams = known["streams"]
    players = sum(sum(stream["players"].values()) for stream in streams)
    answering = sum(router["answers"] for router in known["routers"])
    return (
        f"{time.strftime('%Y-%m-%d %H:%M:%S')}  routers {answering} of {len(answers)}, "
        f"nodes {len(known['nodes'])}, streams {len(streams)}, players {players}"
    )


def screenful(answers: Sequence[Answer], height: int) -> Text:
    """The headline and as much of the table as ``height`` lines hold, with what needs a look in colour."""
    lines = [headline(answers), "", *table(answers).split("\n")]
    if len(lines) > height:
        lines[height - 1 :] = [f"… and {len(lines) - height + 1} more lines: make the terminal higher"]
    text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
    text.highlight_regex(r"(?m)^(ROUTER|NODE|STREAM) .*$", "bold")
    text.highlight_regex(r"\bno answer\b", "bold red")
    text.highlight_regex(r"(?m)\bdrain$", "bold yellow")
    return text
