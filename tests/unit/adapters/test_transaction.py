"""A transaction's steps, whatever goes wrong: on a producer that follows a script."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiokafka.errors import NotEnoughReplicasError, TopicAuthorizationFailedError

from service.adapters.kafka import transaction
from service.adapters.kafka.aiokafka_gaps.fencing import GroupMetadata, OffsetsRefusedError
from service.adapters.kafka.transaction import TransactionLog
from service.core.inputs import CommitRefusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.ports import FatalError
from service.settings import KafkaSettings
from tests.support.scripted_producer import Script, ScriptedProducer

GROUP = GroupMetadata("asset-sync", 7, "member", None)
OUTCOMES, DEAD = "pim.asset-outcomes", "pim.asset-dead-letters"
SETTLEMENT = Transaction(
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
    log = TransactionLog(KafkaSettings.model_validate({}))
    await log.start()
    log.group = GROUP
    yield log, script
    await log.stop()


async def test_outcomes_dead_letters_and_positions_are_one_transaction(scripted: Scripted) -> None:
    """Nothing of it is visible before all of it is there."""
    log, script = scripted

    assert await log.write(SETTLEMENT) is None

    assert script.steps == ["open", "begin", *WRITTEN]


async def test_a_record_that_was_not_taken_is_never_committed(scripted: Scripted) -> None:
    """The commit itself would not notice that it is missing: all of it goes again."""
    log, script = scripted
    script.send_errors = [NotEnoughReplicasError("for the outcomes")]

    assert await log.write(SETTLEMENT) is None

    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "open", "begin", *WRITTEN]


async def test_a_record_that_may_not_be_written_ends_it(scripted: Scripted) -> None:
    """Trying again would not help."""
    log, script = scripted
    script.send_errors = [TopicAuthorizationFailedError(OUTCOMES)]

    with pytest.raises(FatalError):
        await log.write(SETTLEMENT)

    assert "commit" not in script.steps


@pytest.mark.parametrize("refusal", CommitRefusal)
async def test_refused_positions_abort(scripted: Scripted, refusal: CommitRefusal) -> None:
    """The same outcomes can go again, in a transaction that begins anew."""
    log, script = scripted
    script.offsets_errors = [OffsetsRefusedError(refusal)]
    assert await log.write(SETTLEMENT) is refusal
    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "abort"]

    script.steps.clear()
    assert await log.write(SETTLEMENT) is None
    assert script.steps == ["begin", *WRITTEN]


async def test_a_commit_without_an_answer_is_not_repeated(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been carried out: its outcomes would stand there twice."""

    async def is_there(_: KafkaSettings) -> None:
        """Kafka answers others."""

    monkeypatch.setattr(transaction, "connection_error", is_there)
    monkeypatch.setattr(transaction, "ANSWER_SECONDS_MAX", 0.2)
    log, script = scripted
    script.commit_hangs = True

    with pytest.raises(FatalError, match="After a restart"):
        await log.write(SETTLEMENT)

    assert script.steps == ["open", "begin", *WRITTEN]


async def test_nothing_is_committed_in_an_error_state(scripted: Scripted) -> None:
    """The library's abort cannot be trusted then, nor can its commit."""
    log, script = scripted
    script.breaks = 1

    assert await log.write(SETTLEMENT) is None

    assert script.steps == ["open", "begin", OUTCOMES, DEAD, "offsets", "open", "begin", *WRITTEN]


async def test_between_two_assignments_nothing_is_written(scripted: Scripted) -> None:
    """Whoever is no member would commit over its successor."""
    log, script = scripted
    log.group = None

    assert await log.write(SETTLEMENT) is CommitRefusal.FENCED

    assert script.steps == ["open"]
