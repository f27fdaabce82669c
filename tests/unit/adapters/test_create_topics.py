"""Topics that were created are waited for until the brokers know them; a refusal says why."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from service.adapters.kafka.tools import create_topics
from service.adapters.kafka.tools.create_topics import CreatedTopic, until_known
from service.settings import KafkaSettings

KNOWN = {"error_code": 0, "partitions": [{"error_code": 0}, {"error_code": 0}]}
UNKNOWN = {"error_code": 3, "partitions": []}
WITHOUT_LEADER = {"error_code": 0, "partitions": [{"error_code": 0}, {"error_code": 5}]}


class Brokers:
    """Brokers that answer one after another, and then the last answer again and again."""

    def __init__(self, *answers: dict[str, object]) -> None:
        self.asked = 0
        self._answers = iter(answers)
        self._last = answers[-1]

    async def describe_topics(self, names: list[str]) -> list[dict[str, object]]:
        assert names == ["events"]
        self.asked += 1
        return [next(self._answers, self._last)]


@pytest.mark.parametrize("not_yet", [UNKNOWN, WITHOUT_LEADER])
async def test_a_topic_is_waited_for(not_yet: dict[str, object]) -> None:
    brokers: Any = Brokers(not_yet, not_yet, KNOWN)
    await until_known(brokers, ["events"])
    assert brokers.asked == 3


async def test_it_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_topics, "KNOWN_SECONDS_MAX", 0.1)
    brokers: Any = Brokers(UNKNOWN)
    await until_known(brokers, ["events"])
    assert brokers.asked > 1


async def test_nothing_is_asked_where_nothing_was_created() -> None:
    brokers: Any = Brokers(KNOWN)
    await until_known(brokers, [])
    assert brokers.asked == 0


@pytest.mark.parametrize(
    ("code", "message", "end", "told"),
    [
        (0, None, "created", ""),
        (36, "Topic 'events' already exists.", "exists", ""),
        (29, None, "refused", "grant Create on the topic or on the cluster"),
        (31, "Authorization failed.", "refused", "grant Create on the topic or on the cluster"),
        (38, "Only 1 broker is registered.", "refused", "Only 1 broker is registered."),
        (44, None, "refused", "A policy of the broker refuses this request"),
        (89, "", "refused", "A quota of the broker is used up"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(
    code: int, message: str | None, end: str, told: str
) -> None:
    """In the words of the broker, unless it has none or leaves out the remedy."""

    async def answer(topics: list[NewTopic], *, validate_only: bool) -> SimpleNamespace:
        assert not validate_only
        return SimpleNamespace(topic_errors=[(topics[0].name, code, message)])

    admin: Any = SimpleNamespace(create_topics=answer)
    found: CreatedTopic = await create_topics._create(
        admin, KafkaSettings.model_validate({}), NewTopic("events", 1, 1), dry_run=False
    )

    assert (found.name, found.end) == ("events", end)
    assert told in found.message
