"""Topics that were created are waited for until the brokers know them."""

from typing import Any

import pytest

from service.adapters.kafka.tools import create_topics
from service.adapters.kafka.tools.create_topics import until_known

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
