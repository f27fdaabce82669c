"""A cache of the structures of families; a stale one is fetched again (akeneo.md §5).

Rule 1: a change is rejected only by a structure whose fetch began after the flaw was found: the
cached one may be out of date.
Rule 2: if a structure cannot be fetched, values are sent unshaped. If the PIM refuses such values,
the change is rejected only after one more attempt to fetch the structure.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from service.core.group.asset_work import AssetWork
from service.core.group.shape import OPTIONS_PER_ATTRIBUTE_MAX, MissingOption, Structure
from service.core.inputs import Answer
from service.core.limits import (
    OPTIONS_PER_SECOND_MAX,
    STRUCTURE_REFRESH_SECONDS_MIN,
    STRUCTURE_RETRY_SECONDS,
    StructureOptions,
)
from service.core.long_form import LongForm
from service.core.rate import Rate
from service.core.recover.backoff import Jitter, delay
from service.core.requests import CreateOption, Exchange
from service.core.send.exchange import Unreadable, create_option, fetch_structure
from service.core.send.families import Families
from service.core.send.verdict import is_refused, is_written
from service.core.values import Attribute
from service.core.verdict_types import UnknownFamily

CREATION_ATTEMPTS_MAX = 5
FAMILIES_KEPT_MAX = 1_000
"""Most families whose structure is kept. Each takes some kilobytes, in the worst case hundreds."""


class Examined(Enum):
    """The result of examining an asset before its call."""

    READY = "ready"
    WAITING = "waiting"
    """It must wait for a fetch of the structure, or for an option to be created."""
    FLAWED = "flawed"
    """The PIM would refuse its values."""


@dataclass(slots=True, eq=False)
class StructureFetch:
    """The fetch of one family's structure."""

    family: str
    exchange: Exchange[Structure | UnknownFamily | Unreadable]


@dataclass(slots=True, eq=False)
class OptionCreate:
    """The creation of an option, which must end before the values that name it are sent."""

    family: str
    option: MissingOption
    exchange: Exchange[Answer]
    attempts: int = 0
    not_before: float = float("-inf")


SideRequest = StructureFetch | OptionCreate
"""A call that carries no change; changes may wait for it."""


@dataclass(slots=True)
class _FamilyState:
    structure: Structure | None = None
    began_at: float = float("-inf")
    """When the last fetch began."""
    ended_at: float = float("-inf")
    """When the last fetch ended. The structure's age counts from then: while the PIM throttles, a
    fetch may take longer than a structure may be kept."""
    is_fetching: bool = False
    is_readable: bool = False
    """Whether the last fetch succeeded."""
    unfinished: StructureFetch | None = None
    """A fetch that was throttled or cancelled; the next fetch continues it."""
    is_stale: bool = False
    """Whether to fetch the structure again, once `refresh_not_before` has passed."""
    refresh_not_before: float = float("-inf")
    """A structure that is stale is not fetched before this time."""
    parked: list[AssetWork] = field(default_factory=list)
    creating: dict[MissingOption, OptionCreate] = field(default_factory=dict)
    refused: set[MissingOption] = field(default_factory=set)
    """Options that the PIM did not create; they are tried again after the next fetch."""

    @property
    def is_in_use(self) -> bool:
        """Whether a fetch, a parked asset or a creation needs this entry."""
        return bool(self.is_fetching or self.parked or self.creating)

    def next_creation(self) -> OptionCreate:
        """Return the creation whose turn is next: one that was never tried, else the earliest."""
        creations = self.creating.values()
        untried = (one for one in creations if one.not_before == float("-inf"))
        return next(untried, None) or min(creations, key=lambda one: one.not_before)


class StructureCache:
    """The cached structures, the assets that wait for one, and the side requests to send."""

    def __init__(self, limits: StructureOptions, jitter: Jitter, known_families: Families) -> None:
        self._limits = limits
        self._known_families = known_families
        self._jitter = jitter
        self._families: OrderedDict[str, _FamilyState] = OrderedDict()
        """Families in the order of their last fetch."""
        self._waiting_families: dict[str, None] = {}
        """Families with parked assets, in the order of their turns."""
        self._creations = Rate(OPTIONS_PER_SECOND_MAX)

    # --- before a call -----------------------------------------------------------------------

    def may_send(self, family: str) -> bool:
        """Return whether fresh upserts may be sent: not during the first fetch of a structure."""
        state = self._families.get(family)
        return state is None or state.structure is not None or not state.is_fetching

    def needs_fetch(self, family: str, now: float) -> bool:
        """Return whether to fetch the structure now: it is missing, stale or too old."""
        state = self._families.get(family)
        if state is None or state.unfinished is not None:
            return True
        if state.is_fetching:
            return False
        age = now - state.ended_at
        if state.is_stale and now >= state.refresh_not_before:
            return True
        return age >= (
            self._limits.max_age_seconds if state.is_readable else STRUCTURE_RETRY_SECONDS
        )

    def begin_fetch(self, family: str, now: float) -> StructureFetch:
        """Begin a fetch of the structure, or continue an unfinished one."""
        state = self._family(family)
        unfinished, state.unfinished = state.unfinished, None
        if unfinished is not None:
            # The fetch began before the structure became stale: an asset whose values still do
            # not fit at its end marks the structure as stale again.
            state.is_fetching, state.is_stale = True, False
            return unfinished
        if state.is_stale:
            state.refresh_not_before = now + STRUCTURE_REFRESH_SECONDS_MIN
        state.is_fetching, state.is_stale, state.began_at = True, False, now
        self._families.move_to_end(family)
        self._evict()
        return StructureFetch(family, Exchange(fetch_structure(family, self._known_families)))

    def unjudged(self, family: str, works: Iterable[AssetWork]) -> list[AssetWork]:
        """Return the assets whose values the family's structure cannot judge as JSON."""
        state = self._families.get(family)
        structure = state.structure if state is not None else None
        if structure is None:
            return list(works)
        return [work for work in works if not work.is_judged_by(structure)]

    def examine(self, work: AssetWork, now: float) -> Examined:
        """Shape the values of an unjudged asset, and return whether they may be sent."""
        state = self._families.get(work.asset.family)
        if state is None or state.structure is None:
            return self._examine_unshaped(work, state)
        work.shape(state.structure, self._limits.default_locale)
        if not work.flaws:
            return Examined.READY
        creates = self._limits.create_options and work.lacks_only_options
        if not self._limits.validate_values and not creates:
            return Examined.READY
        work.mark_mismatch(now)
        assert work.mismatched_at is not None
        if state.began_at < work.mismatched_at or state.is_fetching:
            state.is_stale = not state.is_fetching
            return Examined.WAITING
        if not state.is_readable:
            return Examined.READY
        if creates and self._plan_creations(work, state):
            return Examined.WAITING
        return Examined.FLAWED if self._limits.validate_values else Examined.READY

    def _examine_unshaped(self, work: AssetWork, state: _FamilyState | None) -> Examined:
        if work.mismatched_at is None:
            return Examined.READY
        if state is not None and not state.is_fetching and state.began_at >= work.mismatched_at:
            return Examined.READY  # a fetch was tried since, and failed
        if state is not None:
            state.is_stale = not state.is_fetching
        return Examined.WAITING

    def mark_stale(self, work: AssetWork, now: float) -> bool:
        """Mark the structure as stale: the PIM refused the asset's values.

        Return True if the values were unshaped: then they are tried once more with a structure.
        """
        state = self._families.get(work.asset.family)
        if state is not None and not state.is_fetching:
            state.is_stale = True
        if work.is_shaped or work.mismatched_at is not None:
            return False
        work.mark_mismatch(now)
        # If the route for structures fails only for a moment, let that moment pass.
        self._family(work.asset.family).refresh_not_before = now + STRUCTURE_REFRESH_SECONDS_MIN
        return True

    def long_form(self, family: str) -> LongForm | None:
        """Return what judges the family's values when they arrive, if its structure is known."""
        state = self._families.get(family)
        return state.structure.long_form if state is not None and state.structure else None

    def attributes(self, family: str) -> Mapping[str, Attribute]:
        """Return the attributes of a family, as far as its structure is known."""
        state = self._families.get(family)
        return state.structure.attributes if state is not None and state.structure else {}

    def park(self, work: AssetWork) -> None:
        """Let the asset wait for a fetch or for its options."""
        work.forget_shape()
        self._family(work.asset.family).parked.append(work)
        self._waiting_families[work.asset.family] = None

    # --- side requests -----------------------------------------------------------------------

    def next_side_request(self, now: float) -> SideRequest | None:
        """Return the next side request that parked assets wait for, if one may be sent now."""
        for family in list(self._waiting_families):
            state = self._families[family]
            if state.creating:
                creation = state.next_creation()
                if creation.not_before <= now and self._creations.allows(now):
                    creation.not_before = float("inf")  # until it ends
                    self._creations.count(now)
                    return creation
                continue
            if state.is_fetching:
                continue
            if state.unfinished is None and now < state.refresh_not_before:
                continue
            state.is_stale = True
            return self.begin_fetch(family, now)
        return None

    def next_times(self, now: float) -> Iterator[float]:
        """Return the times at which side requests may be sent."""
        creation_allowed_at = self._creations.next_time(now) or now
        for family in self._waiting_families:
            state = self._families[family]
            if state.creating:
                yield max(creation_allowed_at, state.next_creation().not_before)
            elif state.unfinished is None and not state.is_fetching:
                yield state.refresh_not_before

    def fetched(
        self, family: str, found: Structure | UnknownFamily | Unreadable, now: float
    ) -> list[AssetWork]:
        """Keep the result of a fetch; return the assets that waited and can continue now."""
        state = self._family(family)
        state.is_fetching = False
        state.ended_at = now
        state.is_readable = isinstance(found, Structure)
        if isinstance(found, Structure):
            state.structure = found
            state.refused.clear()
        elif isinstance(found, UnknownFamily):
            self._known_families.mark_unknown(family, found.response, now)
        return self._unpark(family)

    def retry_later(self, side: SideRequest, now: float) -> None:
        """Continue the side request later: it was cancelled or throttled."""
        if isinstance(side, OptionCreate):
            side.not_before = now
        else:
            state = self._family(side.family)
            state.is_fetching, state.unfinished = False, side

    def created(self, creation: OptionCreate, answer: Answer, now: float) -> list[AssetWork]:
        """Handle the end of a creation; return the assets that can continue now."""
        state = self._family(creation.family)
        if state.creating.get(creation.option) is not creation:
            return []  # it belongs to an assignment that ended
        creation.attempts += 1
        if is_written(answer):
            assert state.structure is not None
            attribute, code = creation.option
            options = dict(state.structure.options)
            options[attribute] = options.get(attribute, frozenset()) | {code}
            state.structure = Structure(state.structure.attributes, options)
        elif is_refused(answer):
            state.refused.add(creation.option)
        elif creation.attempts < CREATION_ATTEMPTS_MAX:
            creation.not_before = now + delay(creation.attempts, self._jitter)
            return []
        else:
            state.refused.add(creation.option)
        del state.creating[creation.option]
        return [] if state.creating else self._unpark(creation.family)

    def forget(self) -> None:
        """Forget who waits, because the assignment ended; the structures are kept."""
        self._waiting_families.clear()
        for state in self._families.values():
            state.parked.clear()
            state.creating.clear()
            state.is_fetching, state.unfinished = False, None

    def _plan_creations(self, work: AssetWork, state: _FamilyState) -> bool:
        """Plan the creation of all missing options; return False if one cannot be created."""
        assert state.structure is not None
        missing = [option for option in work.missing_options if option not in state.refused]
        if len(missing) < len(work.missing_options):
            return False
        planned = Counter(attribute for attribute, _ in state.creating)
        creations: dict[MissingOption, OptionCreate] = {}
        for option in missing:
            if option in state.creating or option in creations:
                continue
            attribute, _ = option
            have = len(state.structure.options.get(attribute, ()))
            if have + planned[attribute] >= OPTIONS_PER_ATTRIBUTE_MAX:
                state.refused.add(option)
                return False
            exchange = Exchange(create_option(CreateOption(work.asset.family, *option)))
            creations[option] = OptionCreate(work.asset.family, option, exchange)
            planned[attribute] += 1
        state.creating |= creations
        return True

    def _evict(self) -> None:
        """Drop families above `FAMILIES_KEPT_MAX`: those fetched longest ago and not in use."""
        surplus = len(self._families) - FAMILIES_KEPT_MAX
        if surplus <= 0:
            return
        for family in list(islice(self._families, surplus)):
            if not self._families[family].is_in_use:
                del self._families[family]

    def _unpark(self, family: str) -> list[AssetWork]:
        self._waiting_families.pop(family, None)
        state = self._family(family)
        parked, state.parked = state.parked, []
        return parked

    def _family(self, family: str) -> _FamilyState:
        state = self._families.get(family)
        if state is None:
            state = self._families[family] = _FamilyState()
        return state
