"""What a transaction of a source holds, and when it is written (contract.md §7)."""

import json
from dataclasses import replace

import pytest

from service.core.facts import ChangeCompleted
from service.core.inputs import (
    ChangesRefused,
    CommitRefusal,
    CommitRefused,
    Committed,
    DrainKind,
    Forgotten,
    Released,
)
from service.core.limits import COMMIT_SILENCE_SECONDS, LAST_TRANSACTION_SECONDS
from service.core.model import Omission, Partition
from service.mapping.results import NotFound
from service.translation.facts import RecordsTranslated
from service.translation.host_reads import RetryLimits
from service.translation.limits import CHANGES_BYTES_MAX
from service.translation.messages import ReadAnswered
from service.translation.read_answers import Found, HostTrouble, Refused
from service.translation.reads import ReadPlan
from service.translation.turn import COST_MAX
from tests.support.translation import CHANGES_TOPIC, LIMITS, TranslatorUnderTest, WordMapping


@pytest.fixture
def tested() -> TranslatorUnderTest:
    """A translator that owns one partition."""
    return TranslatorUnderTest()


# --- what a record becomes -------------------------------------------------------------------


def test_a_record_is_written_whole(tested: TranslatorUnderTest) -> None:
    """Its changes, its outcomes, its dead letter and the position behind it are one transaction."""
    tested.arrive("upsert a", "skip", "reject b", "delete c")

    (transaction,) = tested.transactions
    assert tested.changed == ["a", "c"]
    assert [outcome["id"] for outcome in tested.outcomes] == ["raw/0/0#1", "raw/0/0#2"]
    assert len(tested.dead_letters) == 1
    assert tested.positions == {0: 1}
    assert len(transaction.changes) == 2


def test_a_record_that_ends_as_a_whole_has_one_outcome(tested: TranslatorUnderTest) -> None:
    """Its id is the record's, without a number."""
    tested.arrive(whole=True)

    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["origin"]["part"]) == ("raw/0/0", None)
    assert "dlq.parts" not in dict(tested.dead_letters[0].headers)


def test_further_deletes_of_an_item_are_numbered(tested: TranslatorUnderTest) -> None:
    """The asset is deleted from each family by a change of its own."""
    tested.arrive("families a", "families b")

    ids = [change["id"] for change in tested.changes]
    assert ids == ["raw/0/0#0", "raw/0/0#0.1", "raw/0/0#1", "raw/0/0#1.1"]


@pytest.mark.parametrize("reason", ["too_large", "invalid_event"])
def test_what_could_not_be_read_is_rejected_with_its_reason(
    tested: TranslatorUnderTest, reason: str
) -> None:
    """The consumer delivered the record without its value."""
    assert reason in {"too_large", "invalid_event"}
    omission = Omission("too_large" if reason == "too_large" else "invalid_event", "Why.", ("key",))
    record = tested.record(None)
    tested.deliver(type(record)(record.origin, None, None, (), 1000, omission))

    (outcome,) = tested.outcomes
    assert (outcome["data"]["status"], outcome["data"]["reason"]) == ("rejected", reason)
    assert dict(tested.dead_letters[0].headers)["dlq.key.omitted"] == b"true"


def test_a_record_above_the_limit_is_not_mapped(tested: TranslatorUnderTest) -> None:
    """Its outcome says how large it is and what is allowed."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, record_bytes_max=20))
    tested.arrive("upsert a", "upsert b")

    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["reason"]) == ("raw/0/0", "too_large")
    assert "25 bytes" in outcome["data"]["message"]


def test_a_change_above_the_limit_is_rejected_alone() -> None:
    """The other changes of its record are written."""
    tested = TranslatorUnderTest(
        limits=replace(LIMITS, record_bytes_max=700), mapping=WordMapping(pad=600)
    )
    tested.arrive("upsert a", "delete b")

    assert tested.changed == ["b"]
    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["reason"]) == ("raw/0/0#0", "too_large")
    assert outcome["data"]["mapping"]["rule"] == "all"


def test_deletes_from_several_families_that_are_too_large_have_one_outcome() -> None:
    """An item has one outcome, however many changes it would have been."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, record_bytes_max=200))
    tested.arrive("families a")

    assert [outcome["id"] for outcome in tested.outcomes] == ["raw/0/0#0"]
    assert tested.changes == []


def test_changes_that_are_too_large_together_reject_the_record() -> None:
    """Memory and the transaction stay bounded, whatever a mapping makes of a small record."""
    size = 1024 * 1024 - 1024
    count = CHANGES_BYTES_MAX // size + 3
    tested = TranslatorUnderTest(mapping=WordMapping(pad=size))
    tested.arrive(*["upsert a"] * count, "read b")

    assert tested.started == [], "nothing depends on the answer any more"
    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["reason"]) == ("raw/0/0", "too_large")
    assert outcome["data"]["event"]["id"] == "e0"
    assert (tested.changes, tested.positions) == ([], {0: 1})


@pytest.mark.parametrize("is_committing", [False, True])
def test_answers_that_come_after_the_record_was_rejected_are_ignored(
    *, is_committing: bool
) -> None:
    """What was read made the changes too large together. The record may be committed already."""
    size = 1024 * 1024 - 1024
    count = CHANGES_BYTES_MAX // size + 3
    tested = TranslatorUnderTest(mapping=WordMapping(pad=size))
    tested.is_committing = False
    tested.arrive(*[f"read {number}" for number in range(count)])
    for number in range(count):
        tested.answer(f"/{number}")
        if is_committing and tested.open:
            tested.commit()
    if tested.open:
        tested.commit()

    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["reason"]) == ("raw/0/0", "too_large")
    assert (tested.changes, tested.positions) == ([], {0: 1})


def test_a_record_of_a_thousand_items(tested: TranslatorUnderTest) -> None:
    """They are one transaction, in order."""
    codes = [f"a{number}" for number in range(1000)]
    tested.arrive(*[f"upsert {code}" for code in codes])

    assert tested.changed == codes
    assert len(tested.transactions) == 1


def test_a_replay_treats_only_the_parts_that_died(tested: TranslatorUnderTest) -> None:
    """The others were translated when the record came first."""
    headers = (("replay.of", b"raw/0/0#1"), ("replay.count", b"1"), ("replay.parts", b"1,3"))
    tested.arrive("upsert a", "upsert b", "upsert c", "reject d", headers=headers)

    assert [change["id"] for change in tested.changes] == ["raw/0/0#1"]
    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["replay_of"]) == ("raw/0/0#3", "raw/0/0#3")


# --- order -----------------------------------------------------------------------------------


def test_what_needs_no_read_waits_behind_what_does(tested: TranslatorUnderTest) -> None:
    """The order of a partition holds."""
    tested.arrive("read a")
    tested.arrive("upsert b")
    assert (tested.changed, tested.positions) == ([], {})

    tested.answer("/a")

    assert (tested.changed, tested.positions) == (["a", "b"], {0: 2})


def test_the_parts_of_a_record_wait_for_one_another(tested: TranslatorUnderTest) -> None:
    """They are written in the order of the items, whichever answer comes first."""
    tested.arrive("read a", "upsert b", "read c")
    tested.answer("/c")
    assert tested.transactions == []

    tested.answer("/a", NotFound())

    assert tested.changed == ["b", "c"]
    assert [outcome["data"]["reason"] for outcome in tested.outcomes] == ["not_found"]


def test_partitions_do_not_wait_for_one_another() -> None:
    """Each has an order of its own."""
    tested = TranslatorUnderTest(partitions=2)
    tested.arrive("read a", partition=0)
    tested.arrive("upsert b", partition=1)

    assert (tested.changed, tested.positions) == (["b"], {1: 1})


def test_a_record_that_was_read_before_is_ignored(tested: TranslatorUnderTest) -> None:
    """The consumer reads some records twice after it was paused."""
    tested.assign({0: 5})
    again = tested.record(b'["upsert a"]')
    tested.deliver(again, again)
    tested.deliver(again)

    assert (tested.changed, tested.positions) == (["a"], {0: 6})


def test_records_of_an_older_assignment_are_ignored(tested: TranslatorUnderTest) -> None:
    """Their partitions may belong to another replica by now."""
    old = tested.record(b'["upsert a"]')
    tested.assign()
    tested.deliver(old)

    assert tested.changed == []


# --- transactions ----------------------------------------------------------------------------


def test_one_transaction_at_a_time(tested: TranslatorUnderTest) -> None:
    """What becomes ready meanwhile goes into the next one."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.arrive("upsert b")
    tested.arrive("upsert c")
    assert len(tested.open) == 1

    tested.commit()
    tested.commit()

    assert [len(done.changes) for done in tested.transactions] == [1, 2]


def test_transactions_are_not_more_frequent_than_the_interval() -> None:
    """The first is written at once; the next waits for its time."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, commit_interval_seconds=0.5))
    tested.arrive("upsert a")
    tested.arrive("upsert b")
    assert tested.changed == ["a"]
    assert tested.translator.next_time() == 0.5

    tested.pass_time(0.5)

    assert tested.changed == ["a", "b"]


def test_a_large_transaction_is_split_between_records() -> None:
    """Each record stays whole."""
    tested = TranslatorUnderTest()
    tested.is_committing = False
    tested.arrive("skip")
    for _ in range(12):
        tested.arrive(*["upsert a"] * 900)
    while tested.open:
        tested.commit()

    assert [len(done.changes) for done in tested.transactions] == [0, 4500, 4500, 1800]


@pytest.mark.parametrize(
    "refusal", [CommitRefusal.REBALANCE_IN_PROGRESS, CommitRefusal.METADATA_TOO_LARGE]
)
def test_a_refused_transaction_goes_again(
    tested: TranslatorUnderTest, refusal: CommitRefusal
) -> None:
    """Nothing of it is visible, so the same records are written again."""
    tested.is_committing = False
    tested.arrive("upsert a", "reject b")
    tested.refuse(refusal)
    tested.commit()

    assert (tested.changed, len(tested.dead_letters)) == (["a"], 1)
    assert tested.noted.count("change.completed") == 1


def test_what_kafka_does_not_take_in_time_is_written_in_parts() -> None:
    """Whole it would take too long again: a quota of Kafka delays each of its requests."""
    tested = TranslatorUnderTest()
    tested.is_committing = False
    tested.arrive("skip")
    tested.commit()
    for _ in range(8):
        tested.arrive(*["upsert a"] * 100)
    tested.commit()
    (whole,) = tested.open
    tested.refuse(CommitRefusal.NOT_IN_TIME)
    (part,) = tested.open
    size, size_of_part = (
        sum(one.size for one in transaction.changes)
        for transaction in (whole.transaction, part.transaction)
    )
    assert 0 < size_of_part <= size // 2
    while tested.open:
        tested.commit()
    assert len(tested.changed) == 800


def test_a_fenced_replica_drops_everything(tested: TranslatorUnderTest) -> None:
    """The next owner reads the records again, and gives their items the same ids."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.refuse(CommitRefusal.FENCED)
    assert (tested.dropped, tested.translator.pending_records) == (1, 0)

    tested.is_committing = True
    tested.assign()
    tested.arrive("upsert a")

    assert [change["id"] for change in tested.changes] == ["raw/0/0#0"]


def test_an_answer_to_a_transaction_of_an_ended_assignment_is_ignored(
    tested: TranslatorUnderTest,
) -> None:
    """Its records belong to the next owner."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.assign()
    tested.commit()

    assert tested.translator.pending_records == 0
    assert not any(isinstance(fact, RecordsTranslated) for fact in tested.facts)


def test_an_answer_of_the_dam_to_an_ended_assignment_is_ignored(
    tested: TranslatorUnderTest,
) -> None:
    """The next owner, here the same replica, reads the asset again."""
    tested.arrive("read a")
    late = tested.started.pop()
    tested.assign()
    tested.arrive("read a")
    tested.step(ReadAnswered(late.number, Found(b"{}")))
    assert tested.changed == []

    tested.answer("/a")

    assert (tested.changed, tested.positions) == (["a"], {0: 1})


def test_a_late_answer_does_not_end_the_transaction_of_the_next_assignment(
    tested: TranslatorUnderTest,
) -> None:
    """It has another number."""
    tested.is_committing = False
    tested.arrive("upsert a")
    late = tested.open.pop()
    tested.assign()
    tested.arrive("upsert b")
    tested.step(Committed(late.number))
    tested.step(CommitRefused(late.number, CommitRefusal.FENCED))
    assert (tested.translator.pending_records, tested.dropped) == (1, 0)

    tested.commit()

    assert (tested.changed, tested.translator.pending_records) == (["b"], 0)


def test_a_change_that_its_topic_refuses_is_rejected(tested: TranslatorUnderTest) -> None:
    """The rest of the transaction is written; the outcome names the topic's limit."""
    tested.is_committing = False
    tested.arrive("upsert a", "upsert b")
    tested.refuse(ChangesRefused(frozenset({1})))
    tested.commit()

    assert tested.changed == ["a"]
    (outcome,) = tested.outcomes
    assert (outcome["id"], outcome["data"]["reason"]) == ("raw/0/0#1", "too_large")
    assert CHANGES_TOPIC in outcome["data"]["message"]
    assert dict(tested.dead_letters[0].headers)["dlq.parts"] == b"1"
    (ended,) = [fact for fact in tested.facts if isinstance(fact, ChangeCompleted)]
    assert (ended.status, ended.reason) == ("rejected", "too_large"), "the log tells of it too"


def test_a_topic_that_refuses_most_changes_stops_the_source() -> None:
    """What becomes a dead letter counts as one, whoever refused it, and only once."""
    limits = replace(LIMITS, dead_letter_share_items=10)
    tested = TranslatorUnderTest(limits=limits)
    tested.is_committing = False
    tested.arrive(*["upsert a"] * 10)
    tested.refuse(ChangesRefused(frozenset(range(5))))
    assert tested.translator.status(0).dead_of_last == 5
    assert tested.open, "five of ten are within the limit"

    tested.refuse(ChangesRefused(frozenset({0})))
    assert tested.translator.status(0).is_limit_reached
    assert (tested.open, tested.noted.count("dead_letters.limit_reached")) == ([], 1)

    tested.step(Released({}))
    tested.commit()
    assert (len(tested.changed), len(tested.outcomes)) == (4, 6)


def test_an_item_counts_once_from_however_many_families_it_is_deleted() -> None:
    """Otherwise, the deletes from many families would hide that most items are rejected."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, dead_letter_share_items=4))
    tested.arrive("reject", "families a", "reject", "reject")
    assert tested.translator.status(0).is_limit_reached


# --- intake ----------------------------------------------------------------------------------


def test_intake_pauses_at_the_limit_and_resumes_at_half() -> None:
    """Items count, because each takes memory of its own."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, pending_items_max=4))
    everything = frozenset({Partition("raw", 0)})
    tested.arrive("read a", "upsert x")
    tested.arrive("read b")
    assert tested.pauses == [frozenset()]
    tested.arrive("read c")
    assert tested.pauses == [frozenset(), everything]
    tested.answer("/a")
    assert tested.pauses == [frozenset(), everything], "half of the limit is still pending"

    tested.answer("/b")

    assert tested.pauses == [frozenset(), everything, frozenset()]
    assert tested.noted.count("intake.paused") == tested.noted.count("intake.resumed") == 1


def test_intake_pauses_by_bytes() -> None:
    """A record that waits for a read keeps its decoded JSON, which takes more than its bytes."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, pending_bytes_max=150))
    tested.arrive("read a")

    assert tested.pauses[-1] == frozenset({Partition("raw", 0)})


def test_mapping_stops_where_memory_is_full_and_goes_on() -> None:
    """A poll may bring many records of which each becomes much."""
    tested = TranslatorUnderTest(
        limits=replace(LIMITS, pending_bytes_max=5000), mapping=WordMapping(pad=2000)
    )
    tested.is_committing = False
    records = [tested.record(b'["upsert a"]') for _ in range(10)]
    tested.deliver(*records)
    assert tested.translator.status(0.0).pending_bytes < 10_000

    while tested.open:
        tested.commit()

    assert (len(tested.changed), tested.positions) == (10, {0: 10})


def thin(count: int, **limits: int) -> TranslatorUnderTest:
    """Return a translator to which so many events of one asset came; each becomes 2 KB."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, **limits), mapping=WordMapping(pad=2000))
    tested.deliver(*[tested.record(b'["read a"]') for _ in range(count)])
    return tested


def test_reads_that_make_much_of_little_stay_within_memory() -> None:
    """The newest records are put back; they are read again once half of the limit is free."""
    tested = thin(50, pending_bytes_max=20_000)
    tested.is_committing = False
    most = 0
    while tested.started or tested.open:
        if tested.started:
            tested.answer("/a")
        most = max(most, tested.translator.status(0.0).pending_bytes)
        if tested.open:
            tested.commit()

    assert most < 20_000 + 3_000
    assert (len(tested.changed), tested.positions) == (50, {0: 50})
    assert [change["id"] for change in tested.changes] == [f"raw/0/{n}#0" for n in range(50)]


def test_a_long_queue_does_not_keep_what_was_put_back_from_its_turn() -> None:
    """The records that were never mapped take most of the memory, which no mapping can free."""
    tested = TranslatorUnderTest(
        limits=replace(LIMITS, pending_bytes_max=20_000), mapping=WordMapping(pad=2000)
    )
    tested.is_committing = False
    long = b" " * 300
    tested.deliver(*[tested.record(long + b'["read a"]') for _ in range(50)])
    tested.answer("/a")
    tested.commit()
    waiting = tested.translator.status(0.0).pending_records
    assert waiting * 300 > 10_000
    tested.answer("/a")

    assert len(tested.open[0].transaction.changes) > 1


def test_nothing_is_read_again_while_the_oldest_record_waits() -> None:
    """Reading ahead would only be for what has no room."""
    tested = TranslatorUnderTest(
        limits=replace(LIMITS, pending_bytes_max=20_000), mapping=WordMapping(pad=2000)
    )
    tested.deliver(
        tested.record(b'["read slow"]'), *[tested.record(b'["read a"]') for _ in range(50)]
    )
    tested.answer("/a")
    assert [started.url for started in tested.started] == ["/slow"]
    tested.pass_time(60.0)
    assert len(tested.started) == 1
    assert tested.translator.status(60.0).pending_records == 51

    tested.answer("/slow")
    while tested.started:
        tested.answer("/a")

    assert tested.changed == ["slow", *["a"] * 50]


def test_an_answer_to_what_was_put_back_decides_nothing() -> None:
    """The record has been mapped again since, and waits for a read of its own."""
    tested = TranslatorUnderTest(
        limits=replace(LIMITS, pending_bytes_max=6_000), mapping=WordMapping(pad=2000)
    )
    records = [tested.record(f'["read {name}"]'.encode()) for name in ("slow", "a", "b", "late")]
    tested.deliver(*records)
    tested.answer("/a")
    tested.answer("/b")
    tested.answer("/late")
    assert [started.url for started in tested.started] == ["/slow"], "late is put back"
    tested.answer("/slow")

    for started in list(tested.started):
        tested.answer(started.url)
    assert tested.changed == ["slow", "a", "b", "late"]


def test_a_single_record_is_mapped_however_full_memory_is() -> None:
    """Otherwise nothing would ever be freed."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, pending_bytes_max=1))
    tested.deliver(*[tested.record(b'["upsert a"]') for _ in range(3)])

    assert tested.changed == ["a", "a", "a"]


# --- turns -----------------------------------------------------------------------------------


def in_turns(steps: int, partitions: int = 1, at_once: int = 1000) -> TranslatorUnderTest:
    """Return a translator whose mapping takes so many steps; nothing is committed."""
    return TranslatorUnderTest(
        partitions,
        mapping=WordMapping(steps=steps),
        reads=ReadPlan({"dam": at_once}, RetryLimits(), json.loads, lambda: 0.5),
        is_committing=False,
    )


def turns(tested: TranslatorUnderTest) -> list[int]:
    """Return how much was mapped by the end of each turn that follows at once."""
    mapped = [tested.mapping.calls]
    while tested.translator.next_time() == tested.seconds:
        tested.pass_time(0.0)
        mapped.append(tested.mapping.calls)
    return mapped


def commit_all(tested: TranslatorUnderTest) -> list[str]:
    """Commit until nothing is left to write; return the codes of all changes."""
    while tested.open:
        tested.commit()
    return tested.changed


def test_records_that_take_long_to_map_are_mapped_in_several_turns() -> None:
    """Everything else has a turn in between, such as the heartbeats of all sources."""
    tested = in_turns(COST_MAX // 2)
    tested.deliver(*[tested.record(b'["upsert a"]') for _ in range(5)])

    assert turns(tested) == [2, 4, 5]
    assert commit_all(tested) == ["a"] * 5


def test_usual_records_of_a_poll_are_mapped_in_one_turn() -> None:
    """A turn more would cost more than their mapping."""
    tested = in_turns(0)
    tested.deliver(*[tested.record(b'["upsert a"]') for _ in range(200)])

    assert turns(tested) == [200]


def test_large_records_are_mapped_in_several_turns() -> None:
    """To decode them takes long, however little is mapped."""
    tested = in_turns(0)
    large = json.dumps(["skip " + "x" * (64 * COST_MAX // 10)]).encode()
    tested.deliver(*[tested.record(large) for _ in range(20)])

    assert turns(tested) == [10, 20]


def test_the_items_that_one_answer_decides_are_decided_in_several_turns() -> None:
    """A DAM that tells of an asset 10,000 times is asked for it once."""
    tested = in_turns(COST_MAX // 2)
    tested.deliver(*[tested.record(b'["read a"]') for _ in range(5)])
    turns(tested)
    tested.answer("/a")

    assert turns(tested) == [7, 9, 10]
    assert commit_all(tested) == ["a"] * 5


def test_records_do_not_wait_for_what_an_answer_decides() -> None:
    """Many events of one asset hold up no other asset of the source."""
    tested = in_turns(COST_MAX, partitions=2)
    tested.deliver(*[tested.record(b'["read a"]') for _ in range(50)])
    turns(tested)
    tested.answer("/a")
    tested.arrive("upsert b", partition=1)
    for _ in range(3):
        tested.commit()

    assert "b" in tested.changed
    assert len(tested.changed) < 10


def test_a_host_is_asked_again_when_its_answer_was_looked_at() -> None:
    """Else more and more answers would wait in memory for their turn."""
    tested = in_turns(COST_MAX, partitions=2, at_once=2)
    words = [b'["read a"]', b'["read a"]', b'["read b"]', b'["read c"]']
    tested.deliver(*[tested.record(word) for word in words])
    turns(tested)
    tested.answer("/a")
    tested.answer("/b")

    assert [read.url for read in tested.started] == ["/c"], "for the answer about a"
    tested.answer("/c")
    turns(tested)
    assert commit_all(tested) == ["a", "a", "b", "c"]


def test_answers_that_wait_for_their_turn_end_with_the_assignment() -> None:
    """What they decide belongs to the next owner, and is read again."""
    tested = in_turns(COST_MAX)
    tested.deliver(*[tested.record(b'["read a"]') for _ in range(3)], tested.record(b'["read b"]'))
    turns(tested)
    tested.answer("/a")
    tested.answer("/b")
    tested.step(Forgotten())
    tested.open.clear()
    tested.assign()
    tested.arrive("upsert c")

    turns(tested)
    assert commit_all(tested) == ["c"]


@pytest.mark.parametrize(("kind", "mapped"), [(DrainKind.REVOCATION, 1), (DrainKind.SHUTDOWN, 3)])
def test_a_revocation_leaves_what_waits_for_its_turn(kind: DrainKind, mapped: int) -> None:
    """It ends at once; a shutdown maps what was read."""
    tested = in_turns(COST_MAX)
    tested.deliver(*[tested.record(b'["upsert a"]') for _ in range(3)])
    tested.drain(kind)
    turns(tested)

    assert commit_all(tested) == ["a"] * mapped
    assert tested.drained == [3 - mapped]


# --- the limit on dead letters ---------------------------------------------------------------

FEW = replace(LIMITS, dead_letter_share_items=10)


def test_a_wrong_mapping_stops_its_source() -> None:
    """More than half of the last items would be dead letters: a person has to look."""
    tested = TranslatorUnderTest(limits=FEW)
    for _ in range(6):
        tested.arrive("reject a")
    tested.arrive("upsert b")

    assert len(tested.dead_letters) == 5
    assert tested.changed == []
    status = tested.translator.status(0.0)
    assert (status.is_limit_reached, status.waits_for) == (True, "release")
    assert (status.withheld_changes, status.dead_of_last) == (1, 6)
    assert tested.pauses[-1] == frozenset({Partition("raw", 0)})


def test_a_release_lets_go_what_was_held_back() -> None:
    """The records that were there by then are not counted again."""
    tested = TranslatorUnderTest(limits=FEW)
    for _ in range(6):
        tested.arrive("reject a")
    held = tested.translator.held_back()
    assert (held.dead_letters, held.deletes, held.others) == ({"unmappable": 1}, (), 0)
    tested.step(Released({Partition("raw", 0): 20}))
    for _ in range(14):
        tested.arrive("reject a")
    assert len(tested.dead_letters) == 20

    for _ in range(6):
        tested.arrive("reject a")

    assert len(tested.dead_letters) == 25
    assert tested.noted.count("dead_letters.limit_reached") == 2


def test_what_is_skipped_does_not_count() -> None:
    """A source may skip most of a busy bucket; that says nothing of the mapping."""
    tested = TranslatorUnderTest(limits=FEW)
    for _ in range(6):
        tested.arrive("skip", "skip", "skip", "reject a")

    assert tested.translator.status(0.0).is_limit_reached


def test_a_share_of_dead_letters_below_the_limit_stops_nothing() -> None:
    """Half is allowed."""
    tested = TranslatorUnderTest(limits=FEW)
    for _ in range(50):
        tested.arrive("reject a", "upsert b")

    assert len(tested.changed) == 50


# --- the ceiling on deletes ------------------------------------------------------------------


def test_too_many_deletes_in_an_hour_stop_the_source() -> None:
    """Nothing brings back what the PIM has deleted; an item counts once, whatever its families."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=3))
    for code in ("a", "b", "c"):
        tested.arrive(f"families {code}")
    assert tested.translator.status(0.0).waits_for is None
    tested.arrive("families d")
    tested.arrive("upsert e")

    assert tested.changed == ["a", "a", "b", "b", "c", "c"]
    status = tested.translator.status(0.0)
    assert (status.waits_for, status.held_changes, status.over_ceiling) == ("deletes", 1, ("s3",))
    assert tested.pauses[-1] == frozenset({Partition("raw", 0)})
    assert tested.noted.count("deletes.ceiling_reached") == 1


def test_the_deletes_of_one_transaction_count_too() -> None:
    """A poll may bring more of them than the ceiling allows."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=3))
    tested.deliver(*[tested.record(b'["delete a"]') for _ in range(5)])

    assert len(tested.changed) == 3


def test_released_deletes_go_and_do_not_count() -> None:
    """With all that the partitions had by then."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=2))
    for code in ("a", "b", "c"):
        tested.arrive(f"delete {code}")
    assert tested.changed == ["a", "b"]
    ((of_family),) = tested.translator.held_back().deletes
    assert (of_family.deletes, of_family.codes) == (1, ("c",))
    tested.step(Released({Partition("raw", 0): 6}))
    for code in ("d", "e", "f", "g", "h", "i"):
        tested.arrive(f"delete {code}")

    assert tested.changed == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert "deletes.released" in tested.noted
    assert not tested.translator._outbox._released, "all that it covered is committed"


def test_a_release_does_not_cover_a_raw_topic_that_is_created_again() -> None:
    """Its offsets begin at 0 again, below those that were released."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=2))
    for code in ("a", "b", "c"):
        tested.arrive(f"delete {code}")
    tested.step(Released({Partition("raw", 0): 100}))
    assert tested.changed == ["a", "b", "c"]

    tested.assign()
    for code in ("d", "e", "f"):
        tested.arrive(f"delete {code}")

    assert tested.changed == ["a", "b", "c", "d", "e"]


def test_deletes_of_an_earlier_hour_do_not_count() -> None:
    """And without a ceiling none does."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=1))
    tested.arrive("delete a")
    tested.pass_time(3601)
    tested.arrive("delete b")
    unlimited = TranslatorUnderTest()
    unlimited.arrive(*["delete a"] * 900)

    assert (tested.changed, len(unlimited.changed)) == (["a", "b"], 900)


def test_a_shutdown_does_not_wait_for_held_deletes() -> None:
    """They are left to the next owner."""
    tested = TranslatorUnderTest(limits=replace(LIMITS, deletes_per_hour_max=1))
    tested.arrive("delete a", "delete b")
    tested.arrive("delete c")
    tested.drain()

    assert (tested.changed, tested.drained) == (["a", "b"], [1])


# --- assignment and drain --------------------------------------------------------------------


def test_a_revocation_writes_what_is_ready_and_leaves_the_rest(
    tested: TranslatorUnderTest,
) -> None:
    """It does not wait for reads: the next owner sends them again."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.arrive("upsert b")
    tested.arrive("read c")
    tested.drain(DrainKind.REVOCATION)
    assert tested.drained == []
    tested.commit()
    tested.commit()

    assert (tested.changed, tested.drained) == (["a", "b"], [1])


@pytest.mark.parametrize("kind", DrainKind)
def test_no_read_starts_that_a_drain_does_not_wait_for(
    tested: TranslatorUnderTest, kind: DrainKind
) -> None:
    """After a revocation began, or after the deadline of a shutdown."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.arrive("read b")
    tested.fail_host()
    tested.drain(kind, seconds=1)
    tested.pass_time(5)

    assert (tested.drained, tested.started) == ([], [])


def test_a_shutdown_waits_for_reads(tested: TranslatorUnderTest) -> None:
    """It finishes what is open, within its time."""
    tested.arrive("read a")
    tested.drain()
    assert tested.drained == []

    tested.answer("/a")

    assert (tested.changed, tested.drained) == (["a"], [0])


def test_a_shutdown_does_not_wait_for_a_host_that_fails(tested: TranslatorUnderTest) -> None:
    """What is left waits for the next owner."""
    tested.arrive("read a")
    tested.fail_host()
    tested.drain()

    assert tested.drained == [1]


def test_a_shutdown_ends_at_its_deadline(tested: TranslatorUnderTest) -> None:
    """The last transaction gets a little longer."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.drain(seconds=10)
    tested.pass_time(10 + LAST_TRANSACTION_SECONDS - 0.1)
    assert tested.drained == []

    tested.pass_time(0.1)

    assert tested.drained == [1]


def test_a_drain_takes_nothing_in(tested: TranslatorUnderTest) -> None:
    """The next owner reads it."""
    tested.arrive("read a")
    tested.drain()
    tested.arrive("upsert b")
    tested.answer("/a")

    assert (tested.changed, tested.positions) == (["a"], {0: 1})


def test_a_shutdown_goes_on_after_a_revocation(tested: TranslatorUnderTest) -> None:
    """Both are waited for, and each ends once."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.drain(DrainKind.REVOCATION)
    tested.drain(DrainKind.SHUTDOWN)
    tested.commit()
    assert tested.drained == [0]

    tested.step(Forgotten())

    assert tested.drained == [0, 0]


def test_a_drain_that_is_fenced_ends(tested: TranslatorUnderTest) -> None:
    """Somebody waits for its end."""
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.drain(DrainKind.REVOCATION)
    tested.refuse(CommitRefusal.FENCED)

    assert tested.drained == [1]


# --- the report ------------------------------------------------------------------------------


def test_why_nothing_is_written(tested: TranslatorUnderTest) -> None:
    """A pause on purpose has a name; the strongest is shown."""

    def waits_for() -> str | None:
        return tested.translator.status(tested.seconds).waits_for

    assert waits_for() is None
    tested.is_committing = False
    tested.arrive("upsert a")
    tested.arrive("read b")
    tested.fail_host()
    assert waits_for() == "host"
    tested.pass_time(COMMIT_SILENCE_SECONDS)
    assert waits_for() == "commit"
    tested.drain()
    assert waits_for() == "drain"
    tested.step(Forgotten())
    assert waits_for() == "assignment"


def test_a_host_that_fails_is_reported_and_waited_for(tested: TranslatorUnderTest) -> None:
    """No event fails for it; when the host works again, its reads go on."""
    tested.arrive("read a")
    tested.fail_host()
    assert tested.translator.status(0.0).failing_hosts.keys() == {"dam"}
    tested.pass_time((tested.translator.next_time() or 0.0) - tested.seconds)
    tested.answer("/a")

    assert (tested.changed, tested.translator.status(0.0).failing_hosts) == (["a"], {})
    assert [name for name in tested.noted if name.startswith("host.")] == [
        "host.failing",
        "host.recovered",
    ]


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_host_that_nobody_waits_for_any_more_is_not_reported(
    tested: TranslatorUnderTest, *, is_refused: bool
) -> None:
    """Its partition went to another replica, or the last event was refused: nobody asks again."""
    tested.arrive("read a")
    tested.fail_host()
    assert tested.translator.status(0.0).waits_for == "host"
    if is_refused:
        tested.pass_time(60.0)
        tested.answer("/a", Refused(400, "no"))
    else:
        tested.step(Forgotten())
        tested.assign()

    status = tested.translator.status(0.0)
    assert (status.waits_for, status.failing_hosts) == (None, {})


def test_a_read_that_is_planned_for_later_is_not_silence(tested: TranslatorUnderTest) -> None:
    """Else a host that asks for minutes would make a replica unhealthy that works as it should."""
    tested.arrive("read a")
    tested.step(ReadAnswered(tested.started.pop().number, HostTrouble("is overloaded", 503, 200.0)))
    tested.pass_time(190.0)
    assert tested.translator.status(tested.seconds).waits_for is None
    assert tested.translator.status(tested.seconds).silent_seconds == 0.0
    tested.pass_time(10.0)
    assert len(tested.started) == 1
    assert tested.translator.status(tested.seconds + 20.0).silent_seconds == 20.0


def test_a_read_that_is_due_and_not_sent_is_silence(tested: TranslatorUnderTest) -> None:
    tested.arrive("read a")
    tested.step(ReadAnswered(tested.started.pop().number, HostTrouble("is overloaded", 503, 200.0)))

    assert tested.translator.status(260.0).silent_seconds == 60.0


def test_the_state_of_each_partition() -> None:
    """Positions, pending records and the time of the last progress."""
    tested = TranslatorUnderTest(partitions=2)
    tested.seconds = 7.0
    tested.arrive("upsert a", partition=1)
    tested.arrive("read b", partition=1)

    first, second = tested.translator.status(8.0).partitions
    assert (first.watermark, first.position, first.pending) == (0, 0, 0)
    assert (second.watermark, second.position, second.pending) == (1, 2, 1)
    assert (first.progressed_utc_ms, second.progressed_utc_ms) == (0, 7000)
