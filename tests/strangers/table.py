"""All attacks, in the order of the table."""

from __future__ import annotations

from . import beyond, bus, honest, joins, logs, media, networks, objects, places, web, web2, work
from .attack import Attack

_MODULES = (media, work, joins, places, networks, objects, logs, bus, beyond, web, web2, honest)

ATTACKS: list[Attack] = [attack for module in _MODULES for attack in module.ATTACKS]


def named(name: str) -> Attack:
    return next(attack for attack in ATTACKS if attack.name == name)


def short() -> list[Attack]:
    return [attack for attack in ATTACKS if attack.in_short]
