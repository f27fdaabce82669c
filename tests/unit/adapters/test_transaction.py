"""The steps of a transaction when something fails, on a producer that follows a script."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiokafka.errors import NotEnoughReplicasError, ProducerFenced, TopicAuthorizationFailedError
from msgspec.structs import replace

from service.adapters.kafka import transaction
from service.adapters.kafka.aiokafka_gaps.fencing_producer import OffsetsRefusedError
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata
from service.adapters.kafka.transaction import TransactionLog
from service.core.inputs import CommitRefusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.core.settle import offset_map
from service.ports import FatalError
from service.settings import KafkaSettings
from tests.support.scripted_producer import Script, ScriptedProducer

GROUP = GroupMetadata("asset-sync", 7, "member", None)
OUTCOMES, DEAD = "pim.asset-outcomes", "pim.asset-dead-letters"
TRANSACTION = Transaction(
    outcomes=(LogRecord(b"packshots/a", b"{}", ()),),
    dead_letters=(LogRecord(b"packshots/b", b"raw", (("dlq.reason", b"invalid_event"),)),),
    positions={Partition("events", 0): PositionCommit(2, "")},
)

WRITTEN = [OUTCOMES, DEAD, "offsets", "commit"]

Scripted = tuple[TransactionLog, Script]


@pytest.fixture
async def scripted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scripted]:
    """A log of a member of the group, and the script of its producers."""
    script = Script()
    monkeypatch.setattr(transaction, "FencingProducer", partial(ScriptedProducer, script))
    monkeypatch.setattr(transaction, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(transaction, "PAUSE_SECONDS", 0.0)
    log = TransactionLog(KafkaSettings.model_validate({}))
    await log.start()
    log.group = GROUP
    yield log, script
    await log.stop()


async def test_outcomes_dead_letters_and_positions_are_one_transaction(scripted: Scripted) -> None:
    """Nothing is visible before everything is written."""
    log, script = scripted

    assert await log.write(TRANSACTION) is None

    assert script.steps == ["open", "begin", *WRITTEN]


async def test_a_refused_record_is_not_committed_without_retry(scripted: Scripted) -> None:
    """The commit itself would not notice a missing record, so the transaction is retried."""
    log, script = scripted
    script.send_errors = [NotEnoughReplicasError("for the outcomes")]

    assert await log.write(TRANSACTION) is None

    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "open", "begin", *WRITTEN]


async def test_a_record_that_may_not_be_written_ends_it(scripted: Scripted) -> None:
    """A retry would not help."""
    log, script = scripted
    script.send_errors = [TopicAuthorizationFailedError(OUTCOMES)]

    with pytest.raises(FatalError):
        await log.write(TRANSACTION)

    assert "commit" not in script.steps


@pytest.mark.parametrize("refusal", CommitRefusal)
async def test_refused_positions_abort(scripted: Scripted, refusal: CommitRefusal) -> None:
    """The same outcomes can be written in a new transaction."""
    log, script = scripted
    script.offsets_errors = [OffsetsRefusedError(refusal)]
    positions = {Partition("events", 0): PositionCommit(2, offset_map.encode(2, 0b100))}
    with_map = replace(TRANSACTION, positions=positions)

    assert await log.write(with_map) is refusal
    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "abort"]

    script.steps.clear()
    assert await log.write(TRANSACTION) is None
    assert script.steps == ["begin", *WRITTEN]


async def test_metadata_that_no_shorter_map_makes_fit_ends_the_service(scripted: Scripted) -> None:
    """Else every commit would be refused for ever, and nobody would know why."""
    log, script = scripted
    script.offsets_errors = [OffsetsRefusedError(CommitRefusal.METADATA_TOO_LARGE)]

    with pytest.raises(FatalError, match=r"Set offset\.metadata\.max\.bytes"):
        await log.write(TRANSACTION)


async def reachable(_: KafkaSettings) -> None:
    """Kafka answers other requests."""


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka can be reached, and answers are awaited for a moment only."""
    monkeypatch.setattr(transaction, "connection_error", reachable)
    monkeypatch.setattr(transaction, "ANSWER_SECONDS_MAX", 0.2)
    monkeypatch.setattr(transaction, "SECONDS_MAX", 0.1)


@pytest.mark.usefixtures("hurried")
async def test_what_kafka_does_not_take_in_time_is_refused(scripted: Scripted) -> None:
    """As with a quota: tried again as it is, it would take as long again."""
    log, script = scripted
    script.is_slow = True

    assert await log.write(TRANSACTION) is CommitRefusal.NOT_IN_TIME

    script.steps.clear()
    script.is_slow = False
    assert await log.write(TRANSACTION) is None
    assert script.steps == ["open", "begin", *WRITTEN], "by a producer that has nothing open"


@pytest.mark.usefixtures("hurried")
async def test_what_the_broker_aborted_meanwhile_is_refused(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the wrong reason: that another producer has fenced this one."""
    monkeypatch.setattr(transaction, "SECONDS_MAX", 0.0)
    log, script = scripted
    script.send_errors = [ProducerFenced()]

    assert await log.write(TRANSACTION) is CommitRefusal.NOT_IN_TIME


@pytest.mark.usefixtures("hurried")
async def test_an_outage_is_waited_for(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not matter then how large a transaction is."""
    log, script = scripted

    async def back_at_the_second_try(_: KafkaSettings) -> OSError:
        script.is_slow = False
        return OSError("gone")

    monkeypatch.setattr(transaction, "connection_error", back_at_the_second_try)
    script.is_slow = True

    assert await log.write(TRANSACTION) is None
    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "open", "begin", *WRITTEN]


@pytest.mark.usefixtures("hurried")
async def test_a_commit_without_an_answer_is_not_repeated(scripted: Scripted) -> None:
    """It may have succeeded; a retry would write its outcomes twice."""
    log, script = scripted
    script.commit_hangs = True

    with pytest.raises(FatalError, match="After a restart"):
        await log.write(TRANSACTION)

    assert script.steps == ["open", "begin", *WRITTEN]


async def test_nothing_is_committed_in_an_error_state(scripted: Scripted) -> None:
    """Then neither the library's abort nor its commit can be trusted."""
    log, script = scripted
    script.breaks = 1

    assert await log.write(TRANSACTION) is None

    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "offsets", "open", "begin", *WRITTEN]


async def test_between_two_assignments_nothing_is_written(scripted: Scripted) -> None:
    """A process that is not a member would overwrite the positions of its successor."""
    log, script = scripted
    log.group = None

    assert await log.write(TRANSACTION) is CommitRefusal.FENCED

    assert script.steps == ["open"]
