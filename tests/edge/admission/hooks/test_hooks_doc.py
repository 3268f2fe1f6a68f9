"""The back end in docs/hooks.md does what the document says, and its configuration is one."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from hook_support import asked, asked_to_play

from cluster.edge.admission.hooks.asker import HookAsker
from cluster.edge.admission.hooks.settings import HookSettings, parse_hooks
from cluster.edge.peers.access import Allow, Deny, Refused

TEXT = (Path(__file__).parents[4] / "docs" / "hooks.md").read_text()


def fenced(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_back_end() -> None:
    script = fenced("python").replace(
        'HTTPServer(("127.0.0.1", 8000), Hook).serve_forever()',
        'server = HTTPServer(("127.0.0.1", 0), Hook)\n'
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{int(process.stdout.readline())}/hook"
        try:
            asyncio.run(_ask_all(address))
        finally:
            process.terminate()


async def _ask_all(address: str) -> None:
    asker = HookAsker(HookSettings(publish=address, play=address, timeout_s=60.0))
    refused = Deny("this key is not yours", why=Refused.HOOK_REFUSED)
    for access, verdict in (
        (asked(query="token=let-me-in"), Allow()),
        (asked(query="token=else"), refused),
        (asked_to_play(query=""), Allow()),
    ):
        assert await asker.ask(access, user="", fail_open=False, cache_s=0) == verdict
    await asker.close()


def test_the_configuration() -> None:
    table = tomllib.loads(fenced("toml"))["hooks"]
    del table["secret_file"]
    settings = parse_hooks(table)
    assert (settings.publish, settings.timeout_s) == ("https://app.example/hook", 5.0)
