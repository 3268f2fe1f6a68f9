"""A few hundred inputs for each target, the same every time; ``make fuzz`` runs many more."""

from __future__ import annotations

import pytest
from fuzz_mutator import Mutator
from fuzz_runner import FailureFoundError, run
from fuzz_targets import TARGETS, Target, of_bytes

#: A second or so for all cheap targets together; a session's dialogue takes a millisecond or two.
_EXECUTIONS = 300
_MAX_SECONDS = 0.8


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_a_short_run_of_every_target(target: Target) -> None:
    result = run(target, seed=1, seconds=_MAX_SECONDS, executions=_EXECUTIONS)
    assert result.executions > 0
    assert result.refused < result.executions, "every input was refused: nothing behind that is reached"


def _breaks_on_a_high_byte(data: bytes) -> None:
    if any(byte > 0xF0 for byte in data):
        raise IndexError


def test_a_broken_promise_is_found_and_shown() -> None:
    target = of_bytes("broken", [b"\x02\x00\x05hello"], _breaks_on_a_high_byte, ValueError)
    with pytest.raises(FailureFoundError, match="broken, seed 7, input"):
        run(target, seed=7, seconds=20, executions=100_000)


def test_the_same_seed_makes_the_same_inputs() -> None:
    for target in TARGETS:
        first, again = Mutator(5), Mutator(5)
        assert [target.make(first) for _ in range(20)] == [target.make(again) for _ in range(20)]
