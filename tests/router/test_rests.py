"""A registry that is woken too often rests between its turns, and only then."""

from __future__ import annotations

from cluster.net.wake_ups import HASTY_WAKE_UPS, REST_S
from cluster.router.rests import ENOUGH, Rests


def hasty(rests: Rests, begin: float) -> list[float]:
    """The rests after as many turns as are too many in so short a time."""
    return [rests.after_turn(begin + number * REST_S / 2, 1) for number in range(HASTY_WAKE_UPS + 1)]


def test_it_rests_once_it_is_woken_too_often() -> None:
    rests = Rests()
    assert hasty(rests, 1.0) == [0.0] * HASTY_WAKE_UPS + [REST_S]


def test_it_rests_for_as_long_as_messages_come_together() -> None:
    rests = Rests()
    hasty(rests, 1.0)
    assert [rests.after_turn(2.0, 2), rests.after_turn(3.0, ENOUGH - 1)] == [REST_S, REST_S]
    assert [rests.after_turn(3.5, ENOUGH), rests.after_turn(3.6, 2)] == [0.0, REST_S], "enough at once"
    assert rests.after_turn(4.0, 1) == 0.0
    assert hasty(rests, 5.0)[-2:] == [0.0, REST_S], "it begins anew"


def test_it_does_not_rest_while_turns_are_apart() -> None:
    rests = Rests()
    assert {rests.after_turn(number * 2 * REST_S, 9) for number in range(100)} == {0.0}
