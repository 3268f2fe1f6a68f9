"""Where a result says that it comes from."""

from __future__ import annotations

import platform

from cluster.load.origin import command_line, host_line


def test_a_host_is_one_line_with_its_name_and_cores() -> None:
    line = host_line()
    assert line.startswith(f"{platform.node()}: ")
    assert f"Python {platform.python_version()}" in line
    assert "\n" not in line


def test_a_command_line_can_be_typed_again_and_tells_no_secret() -> None:
    typed = ["load", "rtmp://h/live/a b?key=hunter2", "--play-from", "rtmp://me:hunter2@h/s", "-v"]
    line = command_line(typed)
    assert line.startswith("rtmp-cluster load 'rtmp://h/live/a b?key=")
    assert line.endswith(" -v")
    assert "hunter2" not in line


def test_a_command_line_of_any_bytes_is_text() -> None:
    assert command_line(["load", "\udcff"]) == "rtmp-cluster load '\N{REPLACEMENT CHARACTER}'"
