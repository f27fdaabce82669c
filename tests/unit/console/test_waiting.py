"""What replicas say is added up over all of them; a stranger's answer is no state."""

import json

import pytest

from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.adapters.telemetry.status_report import ReplicaInfo, StatusReport
from service.console.waiting import FamilyWork, Unreachable, Waiting, read_replica
from service.core.limits import DecodeLimits, Limits
from service.core.pipeline import Pipeline


def replica(**members: object) -> bytes:
    return json.dumps(members).encode()


def test_the_data_of_the_status_page_is_a_state() -> None:
    """The page of a replica that has not done anything yet, as its own code makes it."""
    pipeline = Pipeline(Limits(DecodeLimits(1 << 20)), lambda: 0.5)
    report = StatusReport(
        ReplicaInfo("1", "asset-sync", {}, 60.0),
        RecentOutcomes(),
        lambda: pipeline.status(0.0),
        list,
        dict,
    )
    found = read_replica(json.dumps(report.page(), allow_nan=False).encode())
    assert found is not None
    assert found.waiting == "No partition is assigned to this replica."
    assert (found.pending_changes, found.families, found.partitions) == (0, (), ())


def test_families_are_added_up() -> None:
    families = [
        {"family": "a", "waiting": 1, "in_flight": 2, "waiting_for_retry": 3, "failing": ""},
        {"family": "b", "waiting": 100, "is_failing": True, "failing": "upserts fail"},
    ]
    one = read_replica(
        replica(families=families, partitions=[{"lag": 5}, {"lag": 7}], pending_changes=9,
                waiting="PIM unavailable", held="")
    )  # fmt: skip
    two = read_replica(replica(families=families[:1], pending_changes=1, waiting="PIM unavailable"))
    assert one is not None
    assert two is not None
    waiting = Waiting((one, two), (Unreachable("x", "y"),))

    assert (waiting.unread, waiting.pending) == (12, 10)
    assert waiting.reasons == ("PIM unavailable",)
    assert waiting.families == (
        FamilyWork("b", 100, failing="upserts fail"),
        FamilyWork("a", 2, 4, 6),
    )


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"families": 3}', b"\xff", b"[" * 5000])
def test_another_answer_is_no_state(body: bytes) -> None:
    assert read_replica(body) is None
