"""What every test may use."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

_POLL_INTERVAL_S = 0.01


# Drawn examples are the same ones each time (make fuzz looks for others), and may take as long as a busy
# machine makes them take: Hypothesis by itself gives each 0.2 s.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_configure() -> None:
    """A script that runs the tests in its background has them ignore Ctrl-C, and each command under test
    would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs on this machine beside the tests does not show in them, and the other way round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


def pytest_collection_finish() -> None:
    """Thousands of tests are collected and stay: the collector need not walk them again and again."""
    gc.collect()
    gc.freeze()


class Eventually(Protocol):
    def __call__(self, probe: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any: ...


@pytest.fixture
def eventually() -> Eventually:
    """``eventually(probe, what)``: polls until ``probe()`` is truthy and returns that; the failure says
    ``what`` was waited for. The only place that waits by time."""

    def wait(probe: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (value := probe()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
            time.sleep(_POLL_INTERVAL_S)
        return value

    return wait
