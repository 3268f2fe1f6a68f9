"""The image and the compose file, as far as that goes without a Docker engine.

The image itself is not built here: its build steps are carried out outside a container, its entry point
and its health check likewise.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dockerfile import array, read, texts

from cluster.edge.node.config import OPTIONS, EdgeConfig

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
_BUILD, _RUNTIME = 0, 1
_PREFIX = "/opt/rtmp-cluster"


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is missing: pip install 'rtmp-cluster[deploy]'")
    done = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_ends_by_sigterm() -> None:
    instructions = read(DOCKER / "Dockerfile")
    (user,) = texts(instructions, "USER", _RUNTIME)
    assert user.partition(":")[0].isdecimal()
    assert user.partition(":")[0] != "0"
    assert texts(instructions, "STOPSIGNAL", _RUNTIME) == ["SIGTERM"]
    assert texts(instructions, "COPY", _RUNTIME) == [f"--from=build {_PREFIX} {_PREFIX}"]


def test_nothing_but_what_the_build_copies_is_sent_to_it() -> None:
    copied = {
        name
        for text in texts(read(DOCKER / "Dockerfile"), "COPY", _BUILD)
        for name in text.split()[:-1]
    }
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied


@pytest.mark.deploy
def test_the_build_steps_make_an_edge_that_is_healthy_and_drains(tmp_path: Path, eventually: Any) -> None:
    instructions = read(DOCKER / "Dockerfile")
    source, prefix = tmp_path / "source", tmp_path / "prefix"
    source.mkdir()
    for text in texts(instructions, "COPY", _BUILD):
        for name in text.split()[:-1]:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source)
    for text in texts(instructions, "RUN", _BUILD):
        python = f"{getattr(sys, '_base_executable', sys.executable)} -m venv"
        command = text.replace(_PREFIX, str(prefix)).replace("python -m venv", python)
        subprocess.run(["/bin/sh", "-c", command], cwd=source, check=True, timeout=300)

    (entry_point,) = texts(instructions, "ENTRYPOINT", _RUNTIME)
    (command,) = texts(instructions, "CMD", _RUNTIME)
    (check,) = texts(instructions, "HEALTHCHECK", _RUNTIME)
    environment = {"PATH": f"{prefix}/bin:{os.defpath}", "RTMP_CLUSTER_BIND": "127.0.0.1:0"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        edge = subprocess.Popen(
            [*array(entry_point), *array(command)], stderr=output, env=environment, cwd="/"
        )
    try:
        eventually(lambda: "ready on " in log.read_text(), "the edge is ready")
        port = log.read_text().partition("ready on 127.0.0.1:")[2].partition(";")[0]
        # The image has the usual port; here it is a free one.
        healthy = [part.replace("1935", port) for part in array(check)]
        assert subprocess.run(healthy, env=environment, timeout=30).returncode == 0
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(30) == 0
        sick = subprocess.run(healthy, env=environment, timeout=30, capture_output=True)
        assert sick.returncode == 1, "as Docker wants it"
    finally:
        edge.kill()
        edge.wait()


def _compose(*files: str) -> dict[str, Any]:
    """What Compose makes of the files."""
    yaml = pytest.importorskip("yaml", reason="reading Compose's answer needs PyYAML")
    command = _compose_command()
    for name in files:
        command += ["-f", str(DOCKER / name)]
    environment = {**os.environ, "CLUSTER_KEY_FILE": "/a/cluster.key"}
    done = subprocess.run(
        [*command, "config"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


def _compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is not None:
            done = subprocess.run([*command, "version"], capture_output=True, timeout=60)
            if done.returncode == 0:
                return command
    pytest.skip("Docker Compose is missing (Debian: apt-get install docker-compose)")


def test_compose_reads_two_routers_and_two_edges() -> None:
    services = _compose("compose.yaml")["services"]
    assert sorted(services) == ["edge-1", "edge-2", "router-1", "router-2"]
    options = {option.env: option for option in OPTIONS.values()}
    for name in ("edge-1", "edge-2"):
        values = services[name]["environment"]
        for variable, value in values.items():
            for text in value.split():
                options[variable].parse(text)
        routers = values["RTMP_CLUSTER_ROUTER"].split()
        assert routers == ["tcp://router-1:1936", "tcp://router-2:1936"]
        assert set(services[name]["depends_on"]) == {"router-1", "router-2"}
        assert EdgeConfig(drain_timeout_s=float(values["RTMP_CLUSTER_DRAIN_TIMEOUT"])).drain_timeout_s < 45
        assert str(services[name]["stop_grace_period"]) == "45s"
    assert all(service["read_only"] and service["healthcheck"] for service in services.values())


def test_compose_gives_the_key_to_everyone_as_a_secret() -> None:
    config = _compose("compose.yaml", "compose.key.yaml")
    assert config["secrets"]["cluster_key"]["file"] == "/a/cluster.key"
    for service in config["services"].values():
        assert service["environment"]["RTMP_CLUSTER_KEY"] == "/run/secrets/cluster_key"
        assert [secret["source"] for secret in service["secrets"]] == ["cluster_key"]
