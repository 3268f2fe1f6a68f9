"""The wheel: what is in it, and that a Python that knows nothing else runs it."""

from __future__ import annotations

import os
import subprocess
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playbooks import ROOT, build_wheel

from cluster import __version__

pytestmark = pytest.mark.deploy

_TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_has_every_module_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {name for name in names if not name.startswith(f"rtmp_cluster-{__version__}.dist-info/")}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "cluster").rglob("*") if path.is_file()}
    assert code == {name for name in files if "__pycache__" not in name}
    assert f"rtmp_cluster-{__version__}.dist-info/licenses/LICENSE" in names


def test_it_runs_where_nothing_else_is_installed(wheel: Path, tmp_path: Path, eventually: Any) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_directory = tmp_path / "venv" / "bin"
    subprocess.run(
        [bin_directory / "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        check=True, timeout=_TIMEOUT_S, cwd=tmp_path,
    )  # fmt: skip
    command = bin_directory / "rtmp-cluster"
    # Nothing of this tree, and nobody's modules.
    environment = {"PATH": os.defpath}

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [command, *arguments], timeout=60, cwd="/", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert __version__ in run("--version")

    log = tmp_path / "log"
    with log.open("wb") as output:
        edge = subprocess.Popen(
            [command, "edge", "--bind", "127.0.0.1:0", "--workers", "1"],
            stderr=output, cwd="/", env=environment,
        )  # fmt: skip
    try:
        eventually(lambda: "ready on " in log.read_text(), "the edge is ready")
        port = log.read_text().partition("ready on 127.0.0.1:")[2].partition(";")[0]
        url = f"rtmp://127.0.0.1:{port}/live/s"
        report = tmp_path / "load.html"
        run("load", url, "--players", "2", "--duration", "1", "--report", report)
        assert "<svg" in report.read_text()
        edge.terminate()
        assert edge.wait(30) == 0, log.read_text()
    finally:
        edge.kill()
        edge.wait()
