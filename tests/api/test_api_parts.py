"""The parts of the API that need no cluster: cursors, health, arguments, the document, ids."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.api import resources
from cluster.api import view as view_module
from cluster.api.fresh import FRESH_S, Fresh
from cluster.api.handlers import Refused
from cluster.api.health import told
from cluster.api.openapi import document
from cluster.api.operations import OPERATIONS, Parameter, argument
from cluster.api.paging import BadCursor, cursor_of, place_of
from cluster.api.round import Known, RollCall, WorkerName
from cluster.api.sessions import worker_and_number
from cluster.api.sources import Sources
from cluster.api.view import ClusterView
from cluster.core.bus.cluster_status import WorkerStatus
from cluster.edge.peers.log_facts import who

# ---- cursors -------------------------------------------------------------------------------------


@given(st.text(), st.integers(min_value=0))
def test_a_cursor_is_the_place_it_was_made_of(text: str, number: int) -> None:
    assert place_of(cursor_of(text, number), str, int) == (text, number)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        place_of(text, str, int)
    except BadCursor:
        pass


@pytest.mark.parametrize("cursor", [cursor_of(1, 1), cursor_of("a"), cursor_of("a", "b"), "é", "=", "AAAA"])
def test_the_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        place_of(cursor, str, int)


# ---- what is fetched once ------------------------------------------------------------------------


def test_who_asks_at_once_shares_an_answer() -> None:
    async def scene() -> None:
        fresh: Fresh[int] = Fresh(60)
        fetched = []

        async def fetch() -> int:
            fetched.append(1)
            await asyncio.sleep(0.01)
            return len(fetched)

        assert await asyncio.gather(*(fresh.get("a", fetch) for _ in range(5))) == [1] * 5
        assert await fresh.get("a", fetch) == 1
        assert await fresh.get("b", fetch) == 2
        fresh.forget()
        assert await fresh.get("a", fetch) == 3
        soon_old: Fresh[int] = Fresh(0.01)
        assert await soon_old.get("a", fetch) == 4
        await asyncio.sleep(0.02)
        assert await soon_old.get("a", fetch) == 5

    asyncio.run(scene())


def test_a_failure_is_not_kept_and_one_who_gives_up_does_not_end_it_for_others() -> None:
    async def scene() -> None:
        fresh: Fresh[int] = Fresh(10, max_kept=2)

        async def fail() -> int:
            raise ValueError

        async def slow() -> int:
            await asyncio.sleep(0.02)
            return 7

        with pytest.raises(ValueError):  # noqa: PT011
            await fresh.get("a", fail)
        assert await fresh.get("a", slow) == 7
        patient = asyncio.ensure_future(fresh.get("b", slow))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fresh.get("b", slow), 0.001)
        assert await patient == 7
        for key in "cde":
            await fresh.get(key, slow)
        assert len(fresh._kept) == 2
        unfinished = asyncio.ensure_future(fresh.get("f", slow))
        await asyncio.sleep(0)
        fresh.forget()
        await fresh.close()
        with pytest.raises(asyncio.CancelledError):
            await unfinished

    asyncio.run(scene())


# ---- health --------------------------------------------------------------------------------------


def test_who_answers_is_asked_again_as_soon_as_the_routers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_routers(_: object, **__: object) -> Known:
        return Known([])

    async def call_roll(known: Known) -> RollCall:
        return RollCall(known, {}, [], [])

    monkeypatch.setattr(view_module, "ask_routers", ask_routers)
    monkeypatch.setattr(view_module, "call_roll", call_roll)

    async def main() -> None:
        now = 100.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        view = ClusterView(Sources(()))
        known = await view.known()
        now += 0.8 * FRESH_S
        assert (await view.roll_call()).known is known
        now += 0.4 * FRESH_S  # what the routers said is too old by now
        roll = await view.roll_call()
        assert roll.known is not known
        assert await view.roll_call() is roll

    asyncio.run(main())


def test_health_is_told_in_a_word_or_check_by_check() -> None:
    well, ill = {"a": "", "b": ""}, {"a": "", "b": "it drains"}
    assert told(well, "readyz", verbose=False) == (200, "ok\n")
    assert told(well, "readyz", verbose=True) == (200, "[+]a ok\n[+]b ok\nreadyz check passed\n")
    assert told(ill, "readyz", verbose=False) == (503, "[+]a ok\n[-]b it drains\nreadyz check failed\n")


# ---- arguments -----------------------------------------------------------------------------------

_LETTERS = {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]*$"}
WORD = Parameter("w", "query", _LETTERS, "")
NUMBER = Parameter("n", "query", {"type": "integer", "minimum": 1, "maximum": 10}, "")
CHOICE = Parameter("c", "query", {"type": "string", "enum": ["", "a", "b"]}, "")


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [(WORD, "abc", "abc"), (NUMBER, "1", 1), (NUMBER, "10", 10), (CHOICE, "a", "a"), (CHOICE, "", "")],
)
def test_arguments(parameter: Parameter, text: str, value: object) -> None:
    assert argument(parameter, text) == value


@pytest.mark.parametrize(
    ("parameter", "text"),
    [(WORD, ""), (WORD, "abcd"), (WORD, "A"), (NUMBER, "0"), (NUMBER, "11"), (NUMBER, "1.5"), (NUMBER, ""),
     (NUMBER, "٣"), (NUMBER, "9" * 5000), (CHOICE, "c")],
)  # fmt: skip
def test_what_an_argument_cannot_be(parameter: Parameter, text: str) -> None:
    with pytest.raises(Refused) as refused:
        argument(parameter, text)
    assert refused.value.status == 400


# ---- the document --------------------------------------------------------------------------------


def test_every_resource_is_in_the_document_and_every_field_is_described_by_its_type() -> None:
    made = document(OPERATIONS, has_tokens=False)
    schemas = made["components"]["schemas"]
    for name, kind in inspect.getmembers(resources, dataclasses.is_dataclass):
        if name == "Coverage":
            continue
        assert schemas[name]["properties"].keys() == {each.name for each in dataclasses.fields(kind)}
    assert made["security"] == []
    assert "401" not in made["paths"]["/v1/nodes"]["get"]["responses"]
    assert "401" in document(OPERATIONS, has_tokens=True)["paths"]["/v1/nodes"]["get"]["responses"]


def test_what_a_handler_returns_is_what_its_operation_declares() -> None:
    for operation in OPERATIONS:
        returned = typing.get_type_hints(operation.handler)["return"]
        assert returned in (operation.answer, resources.JsonText[operation.answer]), operation.name  # type: ignore[name-defined]


def test_operations_have_names_of_their_own() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


# ---- ids -----------------------------------------------------------------------------------------


def test_the_id_of_a_session_is_that_of_the_log_and_says_which_worker_has_it() -> None:
    from cluster.api.round import Known
    from cluster.core.bus.identity import WorkerIdentity

    identity = WorkerIdentity("rack/a", "1f2e", 3, 7)
    session = str(who(identity, 42, "peer")["id"])
    assert WorkerName.of(identity.worker_id) == ("rack/a", "1f2e", 3, 7)
    assert WorkerName.of(identity.worker_id).session(42) == session
    known = Known([], {identity.worker_id: WorkerStatus(identity.worker_id, False, 0, {})})
    assert worker_and_number(known, session) == (identity.worker_id, 42)
    for other in ("", "1f2e-3.7", "1f2e-3.8-42", "0-3.7-42", session + "x", "é-1.1-1"):
        assert worker_and_number(known, other) is None


@pytest.mark.parametrize("worker_id", ["", "a", "a/b", "a/b/c/d", "////"])
def test_a_worker_may_have_any_name(worker_id: str) -> None:
    assert isinstance(WorkerName.of(worker_id), WorkerName)
