"""A generator process: ``python -m cluster.load.worker FD``; its conductor has the other end of FD."""

from __future__ import annotations

import gc
import sys
from multiprocessing.connection import Connection

from cluster.load.generator import Generator


def main() -> None:
    conductor = Connection(int(sys.argv[1]))
    try:
        job = conductor.recv()
    except EOFError:
        return
    generator = Generator(job, conductor)
    # A collection in the middle of a run would be seen as delay, and nothing here makes cycles for long.
    gc.collect()
    gc.freeze()
    gc.disable()
    generator.run()


if __name__ == "__main__":
    main()
