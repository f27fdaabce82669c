"""The ledger against a plainer model: sets of offsets (P1, D3)."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.core.inputs import Start
from service.core.limits import DecodeLimits, Limits
from service.core.model import Partition
from service.core.records import CompletedChange, LogRecord, PositionCommit
from service.core.settle import offset_map
from service.core.settle.ledger import ARRIVALS_SECONDS, Ledger

PLACES = (Partition("events", 0), Partition("events", 1))
Address = tuple[Partition, int]


RULES = Limits(DecodeLimits(1 << 20), transaction_outcomes_max=5, map_offsets_max=20)


class LedgerModel(RuleBasedStateMachine):
    """Records are read with gaps, completed in any order, committed, refused; replicas die."""

    @initialize()
    def begin(self) -> None:
        """An empty group."""
        self.log: dict[Partition, list[int]] = {record_id: [] for record_id in PLACES}
        self.committed_positions = {record_id: PositionCommit(0, "") for record_id in PLACES}
        self.seen: list[Address] = []
        self.now = 0.0
        self.assign()

    def assign(self) -> None:
        """A new owner begins where the last transaction said."""
        starts = {}
        for record_id, commit in self.committed_positions.items():
            completed = offset_map.decode(commit.position, commit.metadata)
            starts[record_id] = Start(commit.position, completed)
        self.ledger = Ledger(starts, RULES)
        self.read_to = {record_id: start.position for record_id, start in starts.items()}
        self.arrived: dict[Address, float] = {}
        self.open: list[Address] = []
        self.ready: list[Address] = []
        self.in_transaction: list[Address] = []
        self.transaction_positions: dict[Partition, PositionCommit] = {}

    @rule(
        record_id=st.sampled_from(PLACES),
        gaps=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    )
    def write_and_read(self, record_id: Partition, gaps: list[int]) -> None:
        """Records, some after a gap (compaction, markers); the owner reads on, not always all."""
        log = self.log[record_id]
        for gap in gaps:
            log.append((log[-1] + 1 if log else 0) + gap)
        self.read(record_id, len(gaps))

    @rule(record_id=st.sampled_from(PLACES), count=st.integers(1, 9))
    def read(self, record_id: Partition, count: int) -> None:
        """The owner reads on; what is committed already is not admitted again."""
        following = [offset for offset in self.log[record_id] if offset >= self.read_to[record_id]]
        for offset in following[:count]:
            self.read_to[record_id] = offset + 1
            is_admitted = self.ledger.admit(record_id, offset, 10)
            assert is_admitted == ((record_id, offset) not in self.seen)
            if is_admitted:
                self.open.append((record_id, offset))
                self.arrived[record_id, offset] = self.now
            assert not self.ledger.admit(record_id, offset, 10), "the same record read twice"
        self.ledger.note_arrivals(PLACES, self.now)

    @rule(seconds=st.sampled_from([0.3, 1.0, 7.0]))
    def pass_time(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += seconds

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        """A change ends, or a few together."""
        addresses = data.draw(st.lists(st.sampled_from(self.open), min_size=1, unique=True))
        for address in addresses:
            self.open.remove(address)
        self.ledger.complete([tuple(map(_completed, addresses))])
        self.ready += addresses

    @precondition(lambda self: self.ready and not self.in_transaction)
    @rule()
    def take(self) -> None:
        """A transaction begins."""
        transaction = self.ledger.take_transaction(RULES.transaction_bytes_max)
        if transaction is None:
            assert self.open, "only what is open above can hold outcomes back"
            assert not self.ledger.can_commit
            return
        taken = [_address(outcome) for outcome in transaction.outcomes]
        left = [address for address in self.ready if address not in taken]
        assert [address for address in self.ready if address in taken] == taken, "in order"
        self.in_transaction, self.ready = taken, left
        self.transaction_positions = dict(transaction.positions)
        for record_id, offset in taken:
            within = self.transaction_positions[record_id].position + RULES.map_offsets_max
            assert offset <= within, "the map reaches no further"

    @precondition(lambda self: self.in_transaction)
    @rule()
    def commit(self) -> None:
        """It is on the log."""
        self._land()
        self.ledger.committed()
        self.in_transaction = []

    @precondition(lambda self: self.in_transaction)
    @rule()
    def refuse(self) -> None:
        """It was aborted: the same goes again, first."""
        self.ledger.refused(map_too_large=False)
        self.ready = self.in_transaction + self.ready
        self.in_transaction = []
        assert self.ledger.can_commit

    @precondition(lambda self: self.in_transaction)
    @rule(landed=st.booleans())
    def die(self, *, landed: bool) -> None:
        """Kill -9, before or after the transaction reached the log."""
        if landed:
            self._land()
        self.assign()

    def _land(self) -> None:
        assert not set(self.in_transaction) & set(self.seen), "an outcome is repeated"
        self.seen += self.in_transaction
        self.committed_positions |= self.transaction_positions

    @invariant()
    def counts_what_is_held(self) -> None:
        """Admitted and not yet committed."""
        pending = len(self.open) + len(self.ready) + len(self.in_transaction)
        assert self.ledger.pending_changes == pending
        assert self.ledger.pending_bytes == 10 * pending

    @invariant()
    def knows_the_oldest(self) -> None:
        """And when it came, to the second."""
        pending = [*self.open, *self.ready, *self.in_transaction]
        for record_id in PLACES:
            oldest = min((offset for p, offset in pending if p == record_id), default=None)
            assert self.ledger.oldest(record_id) == oldest
            age = self.ledger.oldest_seconds(record_id, self.now)
            if oldest is None:
                assert age == 0
            else:
                true_age = self.now - self.arrived[record_id, oldest]
                assert true_age - 1e-6 <= age <= true_age + ARRIVALS_SECONDS

    @invariant()
    def positions_tell_exactly_what_was_seen(self) -> None:
        """Below the watermark, or in the map: seen; all else: not."""
        for record_id, commit in self.committed_positions.items():
            completed = offset_map.decode(commit.position, commit.metadata)
            told = {o for o in self.log[record_id] if o < commit.position or o in completed}
            assert told == {offset for p, offset in self.seen if p == record_id}


def _completed(address: Address) -> CompletedChange:
    record_id, offset = address
    outcome = LogRecord(b"%d" % record_id.number, b"%d" % offset, ())
    return CompletedChange(record_id, offset, outcome, None, pending_bytes=10, size=outcome.size)


def _address(outcome: LogRecord) -> Address:
    assert outcome.key is not None
    assert outcome.value is not None
    return PLACES[int(outcome.key)], int(outcome.value)


TestLedger: Callable[..., object] = pytest.mark.slow(LedgerModel.TestCase)
LedgerModel.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


SIZE = _completed((PLACES[0], 10)).size


@pytest.mark.parametrize(
    ("outcomes_max", "bytes_max", "taken"),
    [(5, 1 << 20, [5, 5, 2]), (100, 4 * SIZE, [4, 4, 4]), (12, 12 * SIZE, [12])],
)
def test_a_transaction_keeps_its_limits(
    outcomes_max: int, bytes_max: int, taken: list[int]
) -> None:
    """Outcomes beyond them go with the next one."""
    assert (
        _sizes_of_transactions([[offset] for offset in range(10, 22)], outcomes_max, bytes_max)
        == taken
    )


def test_a_group_beyond_the_limits_goes_whole_and_alone() -> None:
    """Its outcomes name each other."""
    groups = [[10], list(range(11, 18)), [18]]
    assert _sizes_of_transactions(groups, 5, 4 * SIZE) == [1, 7, 1]


def _sizes_of_transactions(groups: list[list[int]], outcomes_max: int, bytes_max: int) -> list[int]:
    """How many outcomes each transaction has, until every group is committed."""
    place = PLACES[0]
    limits = Limits(DecodeLimits(1 << 20), transaction_outcomes_max=outcomes_max)
    ledger = Ledger({place: Start(10)}, limits)
    for group in groups:
        assert all(ledger.admit(place, offset, 10) for offset in group)
    for group in groups:
        ledger.complete([tuple(_completed((place, offset)) for offset in group)])
    sizes = []
    while (transaction := ledger.take_transaction(bytes_max)) is not None:
        sizes.append(len(transaction.outcomes))
        ledger.committed()
    return sizes


def test_a_wide_gap_costs_nothing() -> None:
    """Of a compacted topic a trillion offsets may be missing: no map spans them."""
    record_id, far = PLACES[0], 10**12
    ledger = Ledger({record_id: Start(0, frozenset({2}))}, RULES)
    assert [ledger.admit(record_id, offset, 10) for offset in (0, 2, far)] == [
        True,
        False,
        True,
    ]
    ledger.complete([(_completed((record_id, far)),)])

    bytes_max = RULES.transaction_bytes_max
    assert ledger.take_transaction(bytes_max) is None, "no map reaches from the watermark so far"
    ledger.complete([(_completed((record_id, 0)),)])

    transaction = ledger.take_transaction(bytes_max)
    assert transaction is not None
    assert transaction.positions == {record_id: PositionCommit(far + 1, "")}
