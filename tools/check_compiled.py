"""Fails unless every module that ``setup.py`` compiles is imported as an extension.

With -P, so that what is installed is found and not the tree: python -P tools/check_compiled.py
"""

import importlib
import re
import sys
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.py"


def main() -> int:
    paths = re.findall(r'"(cluster/\S+)\.py"', SETUP.read_text())
    names = [path.replace("/", ".") for path in paths]
    files = {name: str(importlib.import_module(name).__file__) for name in names}
    plain = {name: file for name, file in files.items() if not file.endswith(".so")}
    for name, file in plain.items():
        print(f"{name} is not compiled: {file}", file=sys.stderr)
    print(f"compiled: {len(files) - len(plain)} of {len(files)} modules, such as {files[names[0]]}")
    return 1 if plain else 0


if __name__ == "__main__":
    sys.exit(main())
