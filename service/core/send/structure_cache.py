"""Families' structures: read once, kept, read anew where in doubt (akeneo.md §5).

Rule 1: nothing is rejected by what was read before the doubt: a flaw is judged by a reading that
began after it was found.
Rule 2: when a structure cannot be read, values go as they came; a refusal of such values is
believed only after one more try to read.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from service.core.group.asset_work import AssetWork
from service.core.group.shape import OPTIONS_PER_ATTRIBUTE_MAX, MissingOption, Structure
from service.core.inputs import Answer, CallReply
from service.core.limits import (
    OPTIONS_PER_SECOND_MAX,
    STRUCTURE_REST_SECONDS,
    STRUCTURE_RETRY_SECONDS,
    StructureOptions,
)
from service.core.recover.backoff import Jitter, delay
from service.core.requests import CreateOption, Exchange
from service.core.send.exchange import Unreadable, create_option, fetch_structure
from service.core.send.families import Families
from service.core.send.verdict import is_well, is_written
from service.core.verdicts import UnknownFamily

CREATION_ATTEMPTS_MAX = 5
FAMILIES_KEPT_MAX = 1_000
"""Families whose structure is kept: some kilobytes each, a few hundred at the very most."""


class Examined(Enum):
    """What becomes of a job before its call."""

    READY = "ready"
    WAITING = "waiting"
    """It waits for a reading, or for an option to be created."""
    FLAWED = "flawed"
    """The PIM would refuse it."""


@dataclass(slots=True, eq=False)
class StructureFetch:
    """A structure on its way."""

    family: str
    exchange: Exchange[Structure | UnknownFamily | Unreadable]


@dataclass(slots=True, eq=False)
class OptionCreate:
    """An option that is to be there before the values that name it go."""

    family: str
    option: MissingOption
    exchange: Exchange[Answer]
    attempts: int = 0
    not_before: float = float("-inf")


SideRequest = StructureFetch | OptionCreate
"""A call that carries no change."""


@dataclass(slots=True)
class _Family:
    structure: Structure | None = None
    began_at: float = float("-inf")
    """When the last reading began."""
    is_fetching: bool = False
    is_readable: bool = False
    """Whether that reading succeeded."""
    unfinished: StructureFetch | None = None
    """A reading that was throttled or cut: it goes on where it was."""
    is_stale: bool = False
    """Read anew as soon as may be."""
    refresh_not_before: float = float("-inf")
    """Before then doubt alone reads nothing."""
    parked: list[AssetWork] = field(default_factory=list)
    creating: dict[MissingOption, OptionCreate] = field(default_factory=dict)
    refused: set[MissingOption] = field(default_factory=set)
    """Options that the PIM would not create, until the next reading."""

    @property
    def is_in_use(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.is_fetching or self.parked or self.creating)


class StructureCache:
    """The cache, who waits for it, and what is to be asked."""

    def __init__(self, limits: StructureOptions, jitter: Jitter, known: Families) -> None:
        self._limits = limits
        self._known = known
        self._jitter = jitter
        self._families: OrderedDict[str, _Family] = OrderedDict()
        """Those read longest ago first."""
        self._waited_for: dict[str, None] = {}
        """Families with parked jobs, in turn."""
        self._created_at: deque[float] = deque()

    # --- before a call -----------------------------------------------------------------------

    def may_send(self, family: str) -> bool:
        """Whether fresh upserts may go: not while a first reading is on its way."""
        known = self._families.get(family)
        return known is None or known.structure is not None or not known.is_fetching

    def needs_fetch(self, family: str, now: float) -> bool:
        """Whether to read the family before its fresh upserts go, or beside them."""
        known = self._families.get(family)
        if known is None or known.unfinished is not None:
            return True
        if known.is_fetching:
            return False
        age = now - known.began_at
        if known.is_stale and now >= known.refresh_not_before:
            return True
        return age >= (
            self._limits.max_age_seconds if known.is_readable else STRUCTURE_RETRY_SECONDS
        )

    def begin_fetch(self, family: str, now: float) -> StructureFetch:
        """A reading goes out."""
        known = self._family(family)
        unfinished, known.unfinished = known.unfinished, None
        if unfinished is not None:
            # Who still doubts when it is done says so again: it began before the doubt.
            known.is_fetching, known.is_stale = True, False
            return unfinished
        if known.is_stale:
            known.refresh_not_before = now + STRUCTURE_REST_SECONDS
        known.is_fetching, known.is_stale, known.began_at = True, False, now
        self._families.move_to_end(family)
        self._evict()
        return StructureFetch(family, Exchange(fetch_structure(family, self._known)))

    def examine(self, work: AssetWork, now: float) -> Examined:
        """Shape the job's values; may it go?"""
        known = self._families.get(work.asset.family)
        if known is None or known.structure is None:
            return self._examine_unshaped(work, known)
        work.shape(known.structure, self._limits.default_locale)
        if not work.flaws:
            return Examined.READY
        creates = self._limits.create_options and work.lacks_only_options
        if not self._limits.validate_values and not creates:
            return Examined.READY
        work.mark_mismatch(now)
        assert work.mismatched_at is not None
        if known.began_at < work.mismatched_at or known.is_fetching:
            known.is_stale = not known.is_fetching
            return Examined.WAITING
        if not known.is_readable:
            return Examined.READY
        if creates and self._plan_creations(work, known):
            return Examined.WAITING
        return Examined.FLAWED if self._limits.validate_values else Examined.READY

    def _examine_unshaped(self, work: AssetWork, known: _Family | None) -> Examined:
        if work.mismatched_at is None:
            return Examined.READY
        if known is not None and not known.is_fetching and known.began_at >= work.mismatched_at:
            return Examined.READY  # tried, and still unreadable
        if known is not None:
            known.is_stale = not known.is_fetching
        return Examined.WAITING

    def mark_stale(self, work: AssetWork, now: float) -> bool:
        """The PIM refused the job's values. True where they were unshaped: try once more."""
        known = self._families.get(work.asset.family)
        if known is not None and not known.is_fetching:
            known.is_stale = True
        if work.is_shaped or work.mismatched_at is not None:
            return False
        work.mark_mismatch(now)
        # A route that fails for a moment is given that moment.
        self._family(work.asset.family).refresh_not_before = now + STRUCTURE_REST_SECONDS
        return True

    def park(self, work: AssetWork) -> None:
        """The job waits for a reading or for its options."""
        self._family(work.asset.family).parked.append(work)
        self._waited_for[work.asset.family] = None

    # --- side requests -----------------------------------------------------------------------

    def next_side_request(self, now: float) -> SideRequest | None:
        """What parked jobs wait for and may be asked now."""
        for family in list(self._waited_for):
            known = self._families[family]
            for creation in known.creating.values():
                if creation.not_before <= now and self._may_create(now):
                    creation.not_before = float("inf")  # until it ends
                    self._created_at.append(now)
                    return creation
            if known.creating or known.is_fetching:
                continue
            if known.unfinished is None and now < known.refresh_not_before:
                continue
            known.is_stale = True
            return self.begin_fetch(family, now)
        return None

    def next_time(self) -> Iterator[float]:
        """When side requests may go."""
        for family in self._waited_for:
            known = self._families[family]
            if known.creating:
                room = self._created_at[0] + 1.0 if self._created_at else float("-inf")
                yield from (max(room, c.not_before) for c in known.creating.values())
            elif known.unfinished is None and not known.is_fetching:
                yield known.refresh_not_before

    def fetched(
        self, family: str, found: Structure | UnknownFamily | Unreadable, now: float
    ) -> list[AssetWork]:
        """The reading is done; the jobs that waited for it go on, with a structure or without."""
        known = self._family(family)
        known.is_fetching = False
        known.is_readable = isinstance(found, Structure)
        if isinstance(found, Structure):
            known.structure = found
            known.refused.clear()
        elif isinstance(found, UnknownFamily):
            self._known.mark_unknown(family, found.response, now)
        return self._unpark(family)

    def retry_later(self, side: SideRequest, now: float) -> None:
        """It was cut or throttled: it goes on later where it is now."""
        if isinstance(side, OptionCreate):
            side.not_before = now
        else:
            known = self._family(side.family)
            known.is_fetching, known.unfinished = False, side

    def created(self, creation: OptionCreate, answer: Answer, now: float) -> list[AssetWork]:
        """A creation ended; the jobs that need wait no more."""
        known = self._family(creation.family)
        if known.creating.get(creation.option) is not creation:
            return []  # asked in an assignment that is over
        creation.attempts += 1
        if is_written(answer):
            assert known.structure is not None
            attribute, code = creation.option
            options = dict(known.structure.options)
            options[attribute] = options.get(attribute, frozenset()) | {code}
            known.structure = Structure(known.structure.attributes, options)
        elif isinstance(answer, CallReply) and answer.is_from_pim and not is_well(answer):
            known.refused.add(creation.option)
        elif creation.attempts < CREATION_ATTEMPTS_MAX:
            creation.not_before = now + delay(creation.attempts, self._jitter)
            return []
        else:
            known.refused.add(creation.option)
        del known.creating[creation.option]
        return [] if known.creating else self._unpark(creation.family)

    def forget(self) -> None:
        """The assignment is over: nobody waits; what was read stays known."""
        self._waited_for.clear()
        for known in self._families.values():
            known.parked.clear()
            known.creating.clear()
            known.is_fetching, known.unfinished = False, None

    def _plan_creations(self, work: AssetWork, known: _Family) -> bool:
        """Whether every option that the job misses is, or will be, on its way."""
        assert known.structure is not None
        missing = [option for option in work.missing_options if option not in known.refused]
        if len(missing) < len(work.missing_options):
            return False
        for option in missing:
            if option in known.creating:
                continue
            planned = sum(attribute == option[0] for attribute, _ in known.creating)
            have = len(known.structure.options.get(option[0], ()))
            if have + planned >= OPTIONS_PER_ATTRIBUTE_MAX:
                known.refused.add(option)
                return False
            exchange = Exchange(create_option(CreateOption(work.asset.family, *option)))
            known.creating[option] = OptionCreate(work.asset.family, option, exchange)
        return True

    def _evict(self) -> None:
        """Keep as many families as memory is meant for: those read longest ago go."""
        surplus = len(self._families) - FAMILIES_KEPT_MAX
        if surplus <= 0:
            return
        for family in list(islice(self._families, surplus)):
            if not self._families[family].is_in_use:
                del self._families[family]

    def _may_create(self, now: float) -> bool:
        while self._created_at and now - self._created_at[0] >= 1.0:
            self._created_at.popleft()
        return len(self._created_at) < OPTIONS_PER_SECOND_MAX

    def _unpark(self, family: str) -> list[AssetWork]:
        self._waited_for.pop(family, None)
        known = self._family(family)
        parked, known.parked = known.parked, []
        return parked

    def _family(self, family: str) -> _Family:
        known = self._families.get(family)
        if known is None:
            known = self._families[family] = _Family()
        return known
