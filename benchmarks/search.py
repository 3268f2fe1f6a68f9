"""The largest load that still works, found by steps."""

from __future__ import annotations

from collections.abc import Callable

#: The first steps are so far apart.
_FACTOR = 1.5


def largest(works: Callable[[int], bool], *, start: int, most: int, within: float = 0.04) -> int:
    """The largest number up to ``most`` that ``works``, to ``within`` (a share of it); 0 if none does.

    ``works`` should hold up to some number and not above; it is asked for ``start`` first.
    """
    good, bad = 0, most + 1
    tried = min(start, most)
    while tried > 0 and good < tried < bad:
        if works(tried):
            good = tried
        else:
            bad = tried
        if bad - good <= max(1, good * within):
            break
        if bad > most:
            tried = min(most, round(good * _FACTOR))
        elif good == 0:
            tried = int(bad / _FACTOR)
        else:
            tried = (good + bad) // 2
    return good
