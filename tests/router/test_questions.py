"""Questions to workers pass through a registry, and answers go to whoever has asked; closed keys."""

from __future__ import annotations

import pytest

from cluster.core.bus import bounds, control
from cluster.core.bus.control import Answer, CloseKey, Granted, Publish, Question, Refused
from cluster.router.closed_keys import ClosedKeys
from cluster.router.counters import refused
from cluster.router.questions import Questions
from support.registry_harness import A, B, Harness


def test_a_question_goes_to_its_worker_and_the_answer_back() -> None:
    harness = Harness()
    assert harness.says("asker", Question(A, 7, b"?", "a lie")) == [(A, Question(A, 7, b"?", "asker"))]
    assert harness.says(A, Answer(7, b"!", "asker")) == [("asker", Answer(7, b"!", "asker"))]
    assert harness.says(A, Answer(7, b"!", "asker")) == []  # once


def test_a_worker_that_is_not_known_is_said_to_be_so() -> None:
    harness = Harness()
    assert harness.says("asker", Question("x/1/2/3", 7, b"?")) == [
        ("asker", Answer(7, b"", "asker", is_known=False))
    ]


def test_nobody_answers_what_another_was_asked() -> None:
    harness = Harness()
    harness.says("asker", Question(A, 7, b"?"))
    assert harness.says(B, Answer(7, b"!", "asker")) == []
    assert harness.says(A, Answer(8, b"!", "asker")) == []
    assert harness.says(A, Answer(7, b"!", "other")) == []
    assert harness.refusals.counters[refused("answer_unasked")] == 3


def test_answers_may_come_too_late() -> None:
    harness = Harness()
    harness.says("asker", Question(A, 7, b"?"))
    harness.now += bounds.QUESTION_TIMEOUT_S
    assert harness.says(A, Answer(7, b"!", "asker")) == []


def test_open_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.router.questions.MAX_QUESTIONS_OF_ONE", 2)
    monkeypatch.setattr("cluster.router.questions.MAX_QUESTIONS", 3)
    questions = Questions()
    asked = [(asker, Question(A, number, b"?")) for asker in "xy" for number in (1, 2, 3)]
    noted = [questions.note(asker, question, 0.0) for asker, question in asked]
    assert noted == [True, True, False, True, False, False]
    assert not questions.note("x", Question(A, 1, b"?"), 0.0)  # its number is in use
    assert questions.close(A, Answer(1, b"", "x"), 1.0)
    assert questions.note("x", Question(A, 4, b"?"), 1.0)
    assert questions.note("x", Question(A, 5, b"?"), bounds.QUESTION_TIMEOUT_S + 0.5)  # the oldest are gone


def test_a_closed_key_is_granted_to_nobody_until_its_time_is_up() -> None:
    harness = Harness()
    assert harness.says("operator", CloseKey("live/a", 60)) == []
    assert harness.says(A, Publish("live/a", True, 1)) == [(A, Refused("live/a", control.CLOSED, 1))]
    assert isinstance(harness.says(A, Publish("live/b", True, 2))[0][1], Granted)
    harness.now += 60
    assert isinstance(harness.says(A, Publish("live/a", True, 3))[0][1], Granted)


def test_a_closed_key_can_be_opened() -> None:
    harness = Harness()
    harness.says("operator", CloseKey("live/a", 60))
    harness.says("operator", CloseKey("live/a", 0))
    assert isinstance(harness.says(A, Publish("live/a", True, 1))[0][1], Granted)


def test_closed_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.router.closed_keys.MAX_CLOSED_KEYS", 2)
    closed = ClosedKeys()
    for key in "abc":
        closed.close(key, 10.0, 0.0)
    assert closed.left(1.0) == {"b": 9.0, "c": 9.0}
    assert not closed.holds("b", 10.0)
    assert closed.left(0.0) == {"c": 10.0}
