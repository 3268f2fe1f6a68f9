"""Links that leave the host need a key, or the word that the network is guarded."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.bus.cluster_key import ClusterKey
from cluster.commands.guarded import check_guarded
from cluster.commands.main import run
from cluster.core.bus.endpoints import endpoints
from cluster.process.exit_codes import ExitCode
from cluster.process.options import ConfigError

KEY = ClusterKey(b"0" * 32)
AWAY = ["tcp://*:1936", "tcp://0.0.0.0:1936", "tcp://10.0.0.5:1936", "tcp://[::]:1936", "tcp://router-1:1936"]
HERE = ["tcp://127.0.0.1:1936", "tcp://127.9.9.9:1936", "tcp://[::1]:1936", "tcp://localhost:1936", "ipc:///r"]


@pytest.mark.parametrize("address", AWAY)
def test_a_link_that_leaves_the_host_needs_a_key_or_a_word(address: str) -> None:
    links = [endpoints("ipc:///r"), endpoints(address, bind=True)]
    with pytest.raises(ConfigError, match=r"--cluster-key FILE .* or --insecure"):
        check_guarded("--router", "routers", links, None, insecure=False)
    check_guarded("--router", "routers", links, KEY, insecure=False)
    check_guarded("--router", "routers", links, None, insecure=True)


@pytest.mark.parametrize("address", HERE)
def test_a_link_that_does_not_needs_neither(address: str) -> None:
    check_guarded("--bind", "bind", [endpoints(address, bind=True)], None, insecure=False)


@pytest.mark.parametrize(
    "arguments", [["router", "--bind", "tcp://*:0"], ["edge", "--router", "tcp://router.invalid:1936"]]
)
def test_the_commands_do_not_start(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == ExitCode.USAGE
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert f"{arguments[1]} {arguments[2]} leaves this host" in err


def test_the_line_of_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "both.toml"
    config.write_text("[cluster]\nrouter = ['tcp://10.0.0.5:1936']\n[router]\nbind = 'tcp://*:0'\n")
    for command, line in (("edge", 2), ("router", 4)):
        assert run([command, "--config", str(config)]) == ExitCode.USAGE
        assert f"{config}:{line}: --" in capsys.readouterr().err
