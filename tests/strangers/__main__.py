"""``python -m tests.strangers``: run attacks, print a row for each, fail if one is beyond its bounds."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import rows
from .attack import FULL, SHORT
from .rig import run
from .table import ATTACKS, named, short


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    form = SHORT if options.short else FULL
    chosen = short() if options.short else ATTACKS
    if options.only:
        chosen = [named(name) for name in options.only]
    print(rows.LEGEND, rows.head(), sep="\n\n", flush=True)
    done = []
    for attack in chosen:
        with tempfile.TemporaryDirectory(prefix="strangers-") as directory:
            try:
                row = run(attack, form, Path(directory), options.seconds)
            except (AssertionError, OSError, EOFError) as error:
                row = rows.Row(attack.name, complaints=[f"could not be run: {error!r}"[:300]])
        print(rows.line(rows.cells(row)), flush=True)
        done.append(row)
    failed = [row.name for row in done if row.complaints]
    print(f"\n{len(done) - len(failed)} of {len(done)} within their bounds")
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in done], indent=1))
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.strangers", description=__doc__)
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, help="of each attack, instead of its own")
    parser.add_argument("--short", action="store_true", help="a few seconds of each, and less of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: what was started is ended
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
