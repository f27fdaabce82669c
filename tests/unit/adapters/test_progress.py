"""The log lines of normal operation: group joined, PIM reached, and the work of a minute."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.adapters.telemetry.progress import IDLE_SECONDS, PROGRESS_SECONDS, Progress
from service.contracts.outcome import Status
from service.core.facts import RequestEnded, TransactionCommitted
from service.core.model import Partition
from service.core.records import CompletedChange
from tests.contract.test_schemas import outcome

PLACE = Partition("events", 3)
BEGAN = 1000.0


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Yield the log lines of the test."""
    with capture_logs() as lines:
        yield lines


def committed(*statuses: Status) -> TransactionCommitted:
    """Return a transaction with an outcome of each status."""
    completed = tuple(
        CompletedChange(PLACE, 7, outcome(), None, 100, status=status, reason=None)
        for status in statuses
    )
    return TransactionCommitted(len(completed), 0.1, completed)


def requested(ended: str) -> RequestEnded:
    """Return a request to the PIM that ended in this way."""
    return RequestEnded("upsert", "PATCH", "/x", ended, 0.1)


def named(lines: list[EventDict], event: str) -> list[dict[str, Any]]:
    """Return the lines of this event without their level."""
    return [
        {name: value for name, value in line.items() if name not in {"event", "log_level"}}
        for line in lines
        if line["event"] == event
    ]


def test_each_assignment_is_logged_once(logged: list[EventDict]) -> None:
    """The line names the partitions in order; a time without an assignment is not a new one."""
    progress = Progress(BEGAN)
    progress.assigned(None, ())
    for _ in range(3):
        progress.assigned(1, [Partition("events", 1), Partition("events", 0)])
    progress.assigned(None, ())
    progress.assigned(1, [Partition("events", 0)])
    progress.assigned(2, [PLACE])

    assert named(logged, "group.joined") == [
        {"partitions": ["events/0", "events/1"]},
        {"partitions": ["events/3"]},
    ]


def test_the_pim_is_reached_by_the_first_success(logged: list[EventDict]) -> None:
    """An error is not a success, and a second success is not logged."""
    progress = Progress(BEGAN)
    progress.note(requested("5xx"))
    assert named(logged, "pim.reached") == []
    progress.note(requested("2xx"))
    progress.note(requested("2xx"))

    assert named(logged, "pim.reached") == [{}]


def test_the_work_of_each_minute_is_logged(logged: list[EventDict]) -> None:
    """Outcomes by status, requests, pending changes and lag are counted for each minute."""
    progress = Progress(BEGAN)
    progress.note(committed("applied", "rejected", "applied"))
    progress.note(requested("2xx"))
    progress.note(requested("5xx"))
    progress.pass_time(BEGAN + PROGRESS_SECONDS - 1, 4, 5)
    assert named(logged, "service.progress") == []
    progress.pass_time(BEGAN + PROGRESS_SECONDS, 4, 5)
    progress.note(committed("applied"))
    progress.pass_time(BEGAN + 2 * PROGRESS_SECONDS + 1, 0, 0)

    assert named(logged, "service.progress") == [
        {
            "seconds": 60,
            "outcomes": {"applied": 2, "rejected": 1},
            "pim_requests": 2,
            "pending_changes": 4,
            "lag": 5,
        },
        {
            "seconds": 61,
            "outcomes": {"applied": 1},
            "pim_requests": 0,
            "pending_changes": 0,
            "lag": 0,
        },
    ]


@pytest.mark.parametrize(
    "kept", [{"pending_changes": 1, "lag": 0}, {"pending_changes": 0, "lag": 1}]
)
def test_pending_work_is_logged_each_minute(kept: dict[str, int], logged: list[EventDict]) -> None:
    """A minute without progress is logged while changes are pending."""
    progress = Progress(BEGAN)
    progress.pass_time(BEGAN + PROGRESS_SECONDS, **kept)

    assert [line["lag"] for line in named(logged, "service.progress")] == [kept["lag"]]


def test_an_idle_service_logs_once_an_hour(logged: list[EventDict]) -> None:
    """The first minute with work after that is logged at once."""
    progress = Progress(BEGAN)
    progress.pass_time(BEGAN + IDLE_SECONDS - 1, 0, 0)
    assert named(logged, "service.progress") == []
    progress.pass_time(BEGAN + IDLE_SECONDS, 0, 0)
    progress.pass_time(BEGAN + IDLE_SECONDS + PROGRESS_SECONDS, 0, 0)
    assert [line["seconds"] for line in named(logged, "service.progress")] == [IDLE_SECONDS]
    progress.note(committed("applied"))
    progress.pass_time(BEGAN + IDLE_SECONDS + PROGRESS_SECONDS + 1, 0, 0)

    assert [line["outcomes"] for line in named(logged, "service.progress")] == [{}, {"applied": 1}]
