"""A compiled source: from a raw record to what it becomes.

Rule 1: `map` is total: whatever bytes come, it returns a value and never raises.
Rule 2: its time and memory are bounded: by `TOKENS_MAX`, `ITEMS_MAX` and `WORK_STEPS_MAX`.
Rule 3: an event without `for_each` is its own and only item. What ends it before a change of an
asset is asked for ends the record as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.mapping.conditions import Holds
from service.mapping.endings import EarlyEndError, ItemEndedError, RecordEndedError, UnmappableError
from service.mapping.event_facts import FactsOf
from service.mapping.items import items_of
from service.mapping.json_values import ABSENT, text_of_number
from service.mapping.opening import Open, Opened
from service.mapping.results import NO_FACTS, Ended, EventFacts, MappedRecord, Part, RawRecord
from service.mapping.rules import CompiledRule, Items
from service.mapping.scope import Path, Scope
from service.mapping.work import Work

ITEMS_MAX = 1_000
"""Most items of one record."""

Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CompiledSource:
    """A source of the file; it is a `MappedSource`."""

    name: str
    open: Open
    where: Holds | None
    items: Items | None
    only: Holds | None
    rules: Sequence[CompiledRule]
    has_rules_with_items: bool
    facts: FactsOf
    identity_path: Path | None
    tombstone: CompiledRule | None
    """What a tombstone becomes; None means that it is skipped."""

    def map(self, record: RawRecord, only_parts: frozenset[int] | None = None) -> MappedRecord:
        """Return what the record becomes; `only_parts` limits a replay to these items."""
        work = Work()
        return MappedRecord(self._map(record, only_parts, work), work.spent)

    def identity(self, record: RawRecord) -> str | None:
        """Return the DAM's own id of the asset, or None if the event has none."""
        if self.identity_path is None:
            return None
        try:
            found = self.identity_path(_scope_of(self.open(record), Work()))
        except EarlyEndError:
            return None
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return text_of_number(found)
        return found.strip() or None if isinstance(found, str) else None

    def _map(self, record: RawRecord, only_parts: frozenset[int] | None, work: Work) -> Parts:
        facts = NO_FACTS
        try:
            opened = self.open(record)
            scope = _scope_of(opened, work)
            if self.items is None:
                facts = self.facts(scope)
            if opened.event is None:
                return self._tombstone(scope, facts)
            return self._parts(scope, facts, only_parts)
        except EarlyEndError as end:
            return (_ended(end, None, facts),)

    def _tombstone(self, scope: Scope, facts: EventFacts) -> Parts:
        if self.tombstone is None:
            return _skipped(None, "The record is a tombstone: it has no value.", facts)
        if self.tombstone.do == "skip":
            return (self.tombstone.ended(None, facts),)
        return self.tombstone.decide(scope, 0, facts)

    def _parts(self, scope: Scope, facts: EventFacts, only_parts: frozenset[int] | None) -> Parts:
        if self.where is not None and not self.where(scope):
            return _skipped(None, "`where` does not hold for the event.", facts)
        if self.items is not None:
            return self._each(self.items, scope, only_parts)
        rule = self._rule(scope) if self.has_rules_with_items else None
        if rule is not None and rule.items is not None:
            return self._each(rule.items, scope, only_parts, rule, facts)
        return self._item(scope, None, rule, facts)

    def _rule(self, scope: Scope) -> CompiledRule | None:
        for rule in self.rules:
            if rule.when is None or rule.when(scope):
                return rule
        return None

    # --- items -------------------------------------------------------------------------------

    def _each(
        self,
        items: Items,
        scope: Scope,
        only_parts: frozenset[int] | None,
        rule: CompiledRule | None = None,
        facts: EventFacts | None = None,
    ) -> Parts:
        """Map each item; without a rule the rules see the item, and its facts are its own."""
        found = items.path(scope)
        if isinstance(found, (list, dict)) and len(found) > ITEMS_MAX:
            raise RecordEndedError(
                "rejected",
                "too_large",
                f"{items.text} has {len(found):,} items; at most {ITEMS_MAX:,} are mapped.",
            )
        try:
            each = items_of(found, items.text)
        except UnmappableError as error:
            raise UnmappableError(f"{error.message} ({items.where})") from None
        if not each:
            return _skipped(None, f"{items.text} has no items.", facts or self.facts(scope))
        parts: list[Part] = []
        for index, item in enumerate(each):
            if only_parts is None or index in only_parts:
                below = scope.of_item(item)
                parts += self._item(below, index, rule, facts or self.facts(below))
        return tuple(parts) or _skipped(None, "The record has none of these items.", NO_FACTS)

    def _item(
        self, scope: Scope, part: int | None, rule: CompiledRule | None, facts: EventFacts
    ) -> Parts:
        """Map one item; `part` is None for an event that is its own item."""
        try:
            if self.only is not None and not self.only(scope):
                return _skipped(part, "`only` does not hold.", facts)
            taken = rule or self._rule(scope)
        except ItemEndedError as end:
            return (_ended(end, part, facts),)
        if taken is None:
            return _skipped(part, "No rule takes it.", facts)
        if taken.naming is None:
            return (taken.ended(part, facts),)
        return taken.decide(scope, part or 0, facts)


def _scope_of(opened: Opened, work: Work) -> Scope:
    event = {} if opened.event is None else opened.event
    return Scope(event, event, event, opened.key, opened.record, ABSENT, work)


def _skipped(part: int | None, message: str, facts: EventFacts) -> Parts:
    return (Ended(part, "skipped", "not_selected", message, event=facts),)


def _ended(end: EarlyEndError, part: int | None, facts: EventFacts) -> Ended:
    return Ended(part, end.status, end.reason, end.message, event=facts)
