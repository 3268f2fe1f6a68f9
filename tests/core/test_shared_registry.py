"""What users of a shared object are told, and what one of them may cost."""

from __future__ import annotations

import pytest

from cluster.core.amf.values import AmfValue
from cluster.core.rtmp.shared_object import SharedEvent, SharedObjectMessage
from cluster.core.rtmp.shared_object import SharedEventType as T
from cluster.core.rtmp.shared_registry import (
    HANDED_OUT_BURST_BYTES,
    HANDED_OUT_BYTES_PER_S,
    LEAST_HANDED_OUT_BYTES,
    MAX_CALL_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_OBJECT_BYTES,
    MAX_OBJECTS,
    MAX_OBJECTS_PER_APP,
    MAX_OBJECTS_PER_USER,
    MAX_PROPERTIES,
    MAX_USERS,
    SharedObjects,
)

USE = SharedEvent(T.USE)
JOINED = [(T.USE_SUCCESS, "", ()), (T.CLEAR, "", ())]


def about(
    name: str, *events: SharedEvent, persistent: bool = False, amf3: bool = False
) -> SharedObjectMessage:
    return SharedObjectMessage(name, 0, persistent, events, amf3)


class House:
    """A registry, and what each user was told."""

    def __init__(self) -> None:
        self.registry: SharedObjects[str] = SharedObjects()
        self.now = 1000.0

    def send(self, user: str, *events: SharedEvent, name: str = "chat", app: str = "live") -> list[object]:
        return self.send_message(user, about(name, *events), app)

    def send_message(self, user: str, message: SharedObjectMessage, app: str = "live") -> list[object]:
        """Who was told what: (user, (type, name, values), ...)."""
        return [
            (told, *((event.type_id, event.name, event.values) for event in reply.events))
            for told, reply in self.registry.receive(user, app, message, self.now)
        ]


def change(name: str, value: AmfValue) -> SharedEvent:
    return SharedEvent(T.REQUEST_CHANGE, name, (value,))


@pytest.fixture
def house() -> House:
    """With the users "a" and "b" of "chat"."""
    made = House()
    made.send("a", USE)
    made.send("b", USE)
    return made


def test_use_is_answered_with_success_and_clear() -> None:
    house = House()
    assert house.send("a", USE) == [("a", *JOINED)]
    assert house.registry.uses("a")
    assert not house.registry.uses("b")


def test_a_joiner_gets_all_properties(house: House) -> None:
    house.send("a", change("x", 1.0), change("y", "two"))
    assert house.send("c", USE) == [("c", *JOINED, (T.CHANGE, "x", (1.0,)), (T.CHANGE, "y", ("two",)))]


def test_a_change_succeeds_for_one_and_is_told_the_others(house: House) -> None:
    assert house.send("a", change("x", 1.0)) == [
        ("a", (T.SUCCESS, "x", ())),
        ("b", (T.CHANGE, "x", (1.0,))),
    ]


def test_each_change_is_a_version(house: House) -> None:
    versions = []
    for event in (change("x", 1.0), change("x", 2.0), SharedEvent(T.REQUEST_REMOVE, "x")):
        replies = house.registry.receive("a", "live", about("chat", event), house.now)
        versions += [reply.version for _, reply in replies]
    assert versions == [1, 1, 2, 2, 3, 3]


def test_a_message_comes_back_to_all_sender_included(house: House) -> None:
    shout = SharedEvent(T.SEND_MESSAGE, "shout", ("hello", 2.0))
    told = (T.SEND_MESSAGE, "shout", ("hello", 2.0))
    assert house.send("a", shout) == [("a", told), ("b", told)]


def test_a_removal_is_told_all(house: House) -> None:
    removal = SharedEvent(T.REQUEST_REMOVE, "x")
    assert house.send("b", removal) == []
    house.send("a", change("x", None))
    assert house.send("b", removal) == [("a", (T.REMOVE, "x", ())), ("b", (T.REMOVE, "x", ()))]
    assert house.send("b", removal) == []


def test_who_released_it_is_told_no_more(house: House) -> None:
    assert house.send("b", SharedEvent(T.RELEASE)) == []
    assert house.send("a", change("x", 1.0)) == [("a", (T.SUCCESS, "x", ()))]
    assert house.send("b", change("x", 2.0)) == []


def test_releasing_one_keeps_the_others(house: House) -> None:
    house.send("a", USE, name="other")
    house.send("a", SharedEvent(T.RELEASE))
    assert house.registry.uses("a")
    assert house.send("a", change("x", 1.0), name="other") == [("a", (T.SUCCESS, "x", ()))]


def test_an_object_goes_with_its_last_user(house: House) -> None:
    house.send("a", change("x", 1.0))
    house.registry.leave("a")
    assert len(house.registry) == 1
    house.registry.leave("b")
    house.registry.leave("b")
    assert len(house.registry) == 0
    assert house.send("c", USE) == [("c", *JOINED)]


def test_what_is_not_used_cannot_be_changed(house: House) -> None:
    for event in (change("x", 1.0), SharedEvent(T.SEND_MESSAGE, "m"), SharedEvent(T.RELEASE)):
        assert house.send("stranger", event) == []
    assert house.send("c", USE) == [("c", *JOINED)]


def test_what_is_a_servers_to_say_is_ignored(house: House) -> None:
    for type_id in (T.CHANGE, T.SUCCESS, T.STATUS, T.CLEAR, T.REMOVE, T.USE_SUCCESS, 99):
        assert house.send("a", SharedEvent(type_id, "x", ("y",))) == []


def test_apps_do_not_share(house: House) -> None:
    house.send("a", change("x", 1.0))
    assert house.send("z", USE, app="other") == [("z", *JOINED)]
    assert house.send("a", change("x", 2.0), app="other") == []


def test_everyone_is_told_in_the_type_it_speaks(house: House) -> None:
    house.send_message("c", about("chat", USE, amf3=True))
    replies = house.registry.receive("a", "live", about("chat", change("x", 1.0)), house.now)
    assert {told: reply.amf3 for told, reply in replies} == {"a": False, "b": False, "c": True}


def test_another_persistence_is_refused(house: House) -> None:
    assert house.send_message("c", about("chat", USE, persistent=True)) == [
        ("c", (T.STATUS, "SharedObject.BadPersistence", ("error",)))
    ]
    assert house.send_message("c", about("kept", USE, persistent=True)) == [("c", *JOINED)]


REFUSED = [("u", (T.STATUS, "SharedObject.ObjectCreationFailed", ("error",)))]
NO_WRITE = [("a", (T.STATUS, "SharedObject.NoWriteAccess", ("error",)))]


class TestLimits:
    def test_objects_of_one_user(self) -> None:
        house = House()
        for number in range(MAX_OBJECTS_PER_USER):
            assert house.send("u", USE, name=f"{number}") == [("u", *JOINED)]
        assert house.send("u", USE, name="one more") == REFUSED
        assert house.send("u", USE, name="0") == [("u", *JOINED)]  # again

    def test_objects_of_all(self) -> None:
        house = House()
        for number in range(MAX_OBJECTS):
            user, app = f"u{number}", f"app{number // MAX_OBJECTS_PER_APP}"
            assert house.send(user, USE, name=f"{number}", app=app) == [(user, *JOINED)]
        assert house.send("u", USE, name="one more", app="another") == REFUSED
        assert house.send("u", USE, name="0", app="app0") == [("u", *JOINED)]

    def test_objects_of_an_app(self) -> None:
        house = House()
        for number in range(MAX_OBJECTS_PER_APP):
            assert house.send(f"u{number}", USE, name=f"{number}") == [(f"u{number}", *JOINED)]
        assert house.send("u", USE, name="one more") == REFUSED
        assert house.send("u", USE, name="one more", app="other") == [("u", *JOINED)]
        assert house.registry.refused == 1
        house.registry.leave("u0")
        assert house.send("u", USE, name="one more") == [("u", *JOINED)]

    def test_users_of_an_object(self) -> None:
        house = House()
        for number in range(MAX_USERS):
            assert house.send(f"u{number}", USE) == [(f"u{number}", *JOINED)]
        assert house.send("u", USE) == REFUSED
        assert house.send("u0", USE) == [("u0", *JOINED)]  # again
        assert house.registry.refused == 1
        house.registry.leave("u0")
        assert house.send("u", USE) == [("u", *JOINED)]

    def test_names(self) -> None:
        house = House()
        assert house.send("u", USE, name="") == REFUSED
        assert house.send("u", USE, name="n" * MAX_NAME_CHARACTERS) == [("u", *JOINED)]
        assert house.send("u", USE, name="n" * (MAX_NAME_CHARACTERS + 1)) == REFUSED

    def test_properties(self, house: House) -> None:
        house.registry.leave("b")
        for number in range(MAX_PROPERTIES):
            assert house.send("a", change(f"{number}", 0.0)) == [("a", (T.SUCCESS, f"{number}", ()))]
        assert house.send("a", change("one more", 0.0)) == NO_WRITE
        assert house.send("a", change("0", 1.0)) == [("a", (T.SUCCESS, "0", ()))]

    def test_bytes(self, house: House) -> None:
        house.registry.leave("b")
        most = MAX_OBJECT_BYTES - len("x") - 3 - 3  # two strings, with marker and length each
        assert house.send("a", change("x", "v" * (most + 1))) == NO_WRITE
        assert house.send("a", change("x", "v" * most)) == [("a", (T.SUCCESS, "x", ()))]
        assert house.send("a", change("y", None)) == NO_WRITE
        assert house.send("a", change("x", "shorter"), change("y", None)) == [
            ("a", (T.SUCCESS, "x", ())),
            ("a", (T.SUCCESS, "y", ())),
        ]

    def test_messages(self, house: House) -> None:
        most = MAX_CALL_BYTES - len("m") - 3 - 3  # two strings
        shout = SharedEvent(T.SEND_MESSAGE, "m", ("v" * most,))
        assert [told[0] for told in house.send("a", shout)] == ["a", "b"]
        shout = SharedEvent(T.SEND_MESSAGE, "m", ("v" * (most + 1),))
        assert house.send("a", shout) == NO_WRITE

    def test_a_value_that_cannot_be_passed_on(self, house: House) -> None:
        itself: list[object] = []
        itself.append(itself)
        assert house.send("a", change("x", itself)) == NO_WRITE
        assert house.send("a", SharedEvent(T.SEND_MESSAGE, "m", (itself,))) == NO_WRITE


class TestWhatIsHandedOut:
    """Everything that is told a user is paid for, whoever asked for it."""

    def test_changes_of_many_bytes(self, house: House) -> None:
        users = ["a", "b", *(f"u{number}" for number in range(198))]
        for user in users[2:]:
            house.send(user, USE)
        house.now += 60
        big = change("x", "v" * 30_000)
        told = [len(house.send("a", big)) for _ in range(10)]
        assert told == [200, 200, 1, 1, 1, 1, 1, 1, 1, 1], "the burst, and the one that goes beyond it"
        assert house.send("a", big) == NO_WRITE
        assert house.registry.refused == 9
        seconds = 100
        for _ in range(seconds * 10):
            house.now += 0.1
            told.append(len(house.send("a", big)))
        handed_out = told.count(200) * 200 * 30_000
        assert handed_out <= HANDED_OUT_BURST_BYTES + (seconds + 2) * HANDED_OUT_BYTES_PER_S
        assert handed_out > 0.9 * seconds * HANDED_OUT_BYTES_PER_S

    def test_a_burst_to_its_last_byte_and_one_more(self) -> None:
        house = House()
        house.send("a", USE)
        house.now += 60
        most = HANDED_OUT_BURST_BYTES // LEAST_HANDED_OUT_BYTES
        for _ in range(most):
            assert house.send("a", change("x", 1.0)) == [("a", (T.SUCCESS, "x", ()))]
        assert house.send("a", change("x", 1.0)) == [("a", (T.SUCCESS, "x", ()))], "it goes beyond"
        assert house.send("a", change("x", 1.0)) == NO_WRITE
        assert house.send("a", SharedEvent(T.SEND_MESSAGE, "m")) == NO_WRITE
        assert house.send("a", SharedEvent(T.REQUEST_REMOVE, "x")) == NO_WRITE
        assert house.send("b", USE) == [("b", *REFUSED[0][1:])]
        house.now += LEAST_HANDED_OUT_BYTES / HANDED_OUT_BYTES_PER_S
        assert house.send("a", change("x", 2.0)) == [("a", (T.SUCCESS, "x", ()))]

    def test_an_object_to_those_who_join(self) -> None:
        house = House()
        house.send("a", USE)
        house.send("a", change("x", "v" * 60_000))
        house.now += 60
        joins = HANDED_OUT_BURST_BYTES // 60_000 + 1
        for _ in range(joins):
            assert len(house.send("b", USE, SharedEvent(T.RELEASE))[0]) == 4
        assert house.send("b", USE) == [("b", *REFUSED[0][1:])]

    def test_a_lively_room_is_not_refused(self) -> None:
        house = House()
        for number in range(200):
            house.send(f"u{number}", USE)
        for _ in range(20 * 60):
            house.now += 0.05
            assert len(house.send("u7", change("x", house.now))) == 200
        assert house.registry.refused == 0
