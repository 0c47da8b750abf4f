"""A command asks the agent over its socket and gets an answer of the right shape, or one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import trio

from edgemesh.app.ask import ask_agent
from edgemesh.meta.server import Metamanager
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import MetaSettings
from edgemesh.model.trace import TraceAnswer, TracedPort, TraceQuestion
from edgemesh.store.store import Store
from edgemesh.wire.message import Message

# No test but one is about an agent that takes its time.
PATIENT = MetaSettings(answer_timeout_seconds=30)
IMPATIENT = MetaSettings(answer_timeout_seconds=0.2)
QUESTION = TraceQuestion("default", "web", 80)
V1 = (Endpoint("10.1.0.1", 8080),)
ANSWER = TraceAnswer(
    7,
    known=True,
    candidates=V1,
    path="relay",
    route="to v1",
    target=TracedPort(443, "", "TCP", 0, "tls", "random", "node", "", V1),
)


@pytest.fixture
async def agent(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Metamanager]:
    store = await Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    metamanager = Metamanager(store, MetaSettings())
    await nursery.start(metamanager.serve, tmp_path / "meta.sock")
    yield metamanager
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await store.close()


async def ask(tmp_path: Path, settings: MetaSettings = PATIENT) -> TraceAnswer:
    return await ask_agent(tmp_path / "meta.sock", settings, "null/trace", TraceAnswer, QUESTION)


async def test_question_and_answer_survive_the_way(agent: Metamanager, tmp_path: Path) -> None:
    asked: list[Any] = []

    def answer(request: Message) -> TraceAnswer:
        asked.append(request.value())
        return ANSWER

    agent.add_query("trace", answer)
    assert await ask(tmp_path) == ANSWER
    assert asked == [asdict(QUESTION)]


async def test_without_an_agent_there_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"no agent answers on .*edgemesh run"):
        await ask(tmp_path)


async def test_an_agent_that_hangs_is_told_apart(agent: Metamanager, tmp_path: Path) -> None:
    async def hang(_: Message) -> None:
        await trio.sleep_forever()

    agent.add_query("trace", hang)
    with pytest.raises(OperatorError, match=r"has not answered within 0\.2 s"):
        await ask(tmp_path, IMPATIENT)


async def test_an_answer_of_another_version_is_told_apart(
    agent: Metamanager, tmp_path: Path
) -> None:
    agent.add_query("trace", lambda _: {"revision": "seven"})
    with pytest.raises(OperatorError, match=r"the answer to null/trace .*revision"):
        await ask(tmp_path)


async def test_a_refusal_is_the_agent_s_own_words(agent: Metamanager, tmp_path: Path) -> None:
    def refuse(_: Message) -> None:
        raise OperatorError("no Service named web")

    agent.add_query("trace", refuse)
    with pytest.raises(OperatorError, match="no Service named web"):
        await ask(tmp_path)
