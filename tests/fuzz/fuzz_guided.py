"""One target led by coverage: Atheris watches which branches of the core an input takes.

    python tests/fuzz/fuzz_guided.py amf0 60        the target, and for how many seconds

A program of its own, because the core must not be imported before Atheris instruments it. Needs
``pip install atheris``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["cluster.core"]):
    import fuzz_targets
from fuzz_mutator import Mutator
from fuzz_runner import survives


def main(name: str, seconds: str) -> None:
    """Does not return: libFuzzer ends the process.

    Targets that take bytes get Atheris' own inputs; for the others its bytes seed our mutator.
    """
    target = next(target for target in fuzz_targets.TARGETS if target.name == name)
    takes_bytes = isinstance(target.make(Mutator(0)), bytes)

    def one_input(data: bytes) -> None:
        survives(target, data if takes_bytes else target.make(Mutator(hash(data))), 0, 0)

    options = [f"-max_total_time={seconds}", "-max_len=512", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
