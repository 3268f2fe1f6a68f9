"""The instructions of a Dockerfile, as far as ours goes: continued lines, JSON arguments, stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: its stage (0 is the first FROM's), its word, and what follows."""

    stage: int
    word: str
    text: str


def read(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, text = line.strip().partition(" ")
        stage += word == "FROM"
        if word:
            found.append(Instruction(stage, word, " ".join(text.split())))
    return found


def texts(instructions: list[Instruction], word: str, stage: int) -> list[str]:
    return [each.text for each in instructions if (each.word, each.stage) == (word, stage)]


def array(text: str) -> list[str]:
    """The exec form behind ``[``, whatever flags stand before it."""
    return [str(each) for each in json.loads(text[text.index("[") :])]
