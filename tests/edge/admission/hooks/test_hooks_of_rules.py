"""Rules and hooks: a hook is asked of those alone who have shown all else, and has the last word."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hook_support import asked

from cluster.edge.admission.hooks.asker import HookAsker
from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.policy import parse
from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from support.hook_servers import HookServer, hook_server, response

RULE = {"hook": True, "users": ["studio"]}
RIGHT = "user=studio&pass=right"


def judged(access: Access, terms: dict[str, Any], answer: bytes) -> tuple[Verdict, HookServer]:
    async def run() -> tuple[Verdict, HookServer]:
        async with hook_server(answer) as server:
            policy = parse({
                "rule": [{"match": "*", "publish": {**RULE, **terms}}],
                "users": {"studio": {"password": "right"}},
                "hooks": {"publish": server.address, "timeout": 60},
            })  # fmt: skip
            asker = HookAsker(policy.hooks)
            verdict = RuleJudge(policy, bytes(32), asker).judge(access)
            if not isinstance(verdict, Allow | Deny):
                verdict = await verdict
            await asker.close()
            return verdict, server

    return asyncio.run(run())


def test_the_hook_has_the_last_word() -> None:
    verdict, server = judged(asked(query=RIGHT), {}, response(200, {"allow": True, "key": "live/b"}))
    assert verdict == Allow(key="live/b", user="studio")
    assert server.requests[0].json["proven_user"] == "studio"
    verdict, _ = judged(asked(query=RIGHT), {}, response(403))
    assert isinstance(verdict, Deny)
    assert verdict.why is Refused.HOOK_REFUSED


def test_who_has_not_shown_the_rest_is_not_asked_about() -> None:
    verdict, server = judged(asked(query="user=studio&pass=wrong"), {"fail": "open"}, response(500))
    assert isinstance(verdict, Deny)
    assert verdict.why is Refused.BAD_CREDENTIALS
    assert server.requests == []


@pytest.mark.parametrize(("fail", "allowed"), [("open", True), ("closed", False)])
def test_a_failure_is_what_the_rule_says(fail: str, allowed: bool) -> None:
    verdict, _ = judged(asked(query=RIGHT), {"fail": fail}, response(500))
    assert isinstance(verdict, Allow) == allowed
