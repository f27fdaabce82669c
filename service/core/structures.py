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

from service.core.effects import (
    CreateOption,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
)
from service.core.gate import Jitter, delay
from service.core.inputs import Answer, CallReply
from service.core.job import Job
from service.core.rules import (
    OPTIONS_PER_SECOND_MAX,
    STRUCTURE_REST_SECONDS,
    STRUCTURE_RETRY_SECONDS,
    StructureRules,
)
from service.core.structure import OPTIONS_PER_ATTRIBUTE_MAX, Attribute, MissingOption, Structure
from service.core.verdict import Said, is_unknown, is_well, is_written

CREATION_ATTEMPTS_MAX = 5
FAMILIES_KEPT_MAX = 1_000
"""Families whose structure is kept: some kilobytes each, a few hundred at the very most."""


class Examined(Enum):
    """What becomes of a job before its call."""

    READY = "ready"
    DOUBTFUL = "doubtful"
    """It waits for a reading, or for an option to be created."""
    FLAWED = "flawed"
    """The PIM would refuse it."""


@dataclass(slots=True)
class Reading:
    """A structure on its way: attributes first, then the options of each that has some.

    Where the PIM denies the attributes, the family itself may be unknown: then that is asked.
    """

    family: str
    attributes: dict[str, Attribute] | None = None
    options: dict[str, frozenset[str]] = field(default_factory=dict)
    left: deque[str] = field(default_factory=deque)
    """Attributes whose options are still to be read."""
    denial: Said | None = None
    """How the PIM denied the attributes."""
    is_listed: bool = False
    """Whether the PIM answered its list of families after that."""
    is_unknown: bool = False
    """Whether the PIM has no such family."""

    @property
    def request(self) -> Request:
        """What to ask next."""
        if self.attributes is not None:
            return GetOptions(self.family, self.left[0])
        if self.denial is None:
            return GetAttributes(self.family)
        return GetFamily(self.family) if self.is_listed else GetFamilies()

    def take(self, answer: Answer) -> bool:
        """Take the answer in; False where it is none."""
        if not isinstance(answer, CallReply):
            return False
        if self.attributes is not None:
            return self._take_options(answer)
        if self.denial is None:
            return self._take_attributes(answer)
        return self._take_check(answer)

    def _take_attributes(self, answer: CallReply) -> bool:
        if is_unknown(answer):
            self.denial = Said(answer.status, answer.message, answer.errors)
            return True
        if answer.status != 200 or not answer.attributes:
            return False  # every family has a label: without any, something is hidden from us
        self.attributes = {found.code: found for found in answer.attributes}
        self.left.extend(c for c, found in self.attributes.items() if found.has_options)
        return True

    def _take_options(self, answer: CallReply) -> bool:
        if answer.status != 200 or answer.options is None:
            return False
        self.options[self.left.popleft()] = answer.options
        return True

    def _take_check(self, answer: CallReply) -> bool:
        if self.is_listed:
            self.is_unknown = is_unknown(answer)
            return self.is_unknown
        self.is_listed = is_well(answer)
        if answer.families is not None:
            self.is_unknown = self.family not in answer.families
            return self.is_unknown
        return self.is_listed

    @property
    def is_done(self) -> bool:
        """Whether everything was read, or there is nothing to read."""
        return self.is_unknown or (self.attributes is not None and not self.left)


@dataclass(slots=True)
class Creation:
    """An option that is to be there before the values that name it go."""

    family: str
    option: MissingOption
    attempts: int = 0
    not_before: float = float("-inf")

    @property
    def request(self) -> CreateOption:
        """The call."""
        return CreateOption(self.family, *self.option)


@dataclass(slots=True)
class _Family:
    structure: Structure | None = None
    began_at: float = float("-inf")
    """When the last reading began."""
    is_reading: bool = False
    could_read: bool = False
    """Whether that reading succeeded."""
    unfinished: Reading | None = None
    """A reading that was throttled or cut: it goes on where it was."""
    is_doubted: bool = False
    """Read anew as soon as may be."""
    rests_until: float = float("-inf")
    """Before then doubt alone reads nothing."""
    parked: list[Job] = field(default_factory=list)
    creating: dict[MissingOption, Creation] = field(default_factory=dict)
    refused: set[MissingOption] = field(default_factory=set)
    """Options that the PIM would not create, until the next reading."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.is_reading or self.parked or self.creating)


class Structures:
    """The cache, who waits for it, and what is to be asked."""

    def __init__(self, rules: StructureRules, jitter: Jitter) -> None:
        self._rules = rules
        self._jitter = jitter
        self._families: OrderedDict[str, _Family] = OrderedDict()
        """Those read longest ago first."""
        self._errands: dict[str, None] = {}
        """Families with parked jobs, in turn."""
        self._created_at: deque[float] = deque()

    # --- before a call -----------------------------------------------------------------------

    def may_send(self, family: str) -> bool:
        """Whether fresh upserts may go: not while a first reading is on its way."""
        known = self._families.get(family)
        return known is None or known.structure is not None or not known.is_reading

    def wants_reading(self, family: str, now: float) -> bool:
        """Whether to read the family before its fresh upserts go, or beside them."""
        known = self._families.get(family)
        if known is None or known.unfinished is not None:
            return True
        if known.is_reading:
            return False
        age = now - known.began_at
        if known.is_doubted and now >= known.rests_until:
            return True
        return age >= (self._rules.max_age_seconds if known.could_read else STRUCTURE_RETRY_SECONDS)

    def begin(self, family: str, now: float) -> Reading:
        """A reading goes out."""
        known = self._family(family)
        unfinished, known.unfinished = known.unfinished, None
        if unfinished is not None:
            # Who still doubts when it is done says so again: it began before the doubt.
            known.is_reading, known.is_doubted = True, False
            return unfinished
        if known.is_doubted:
            known.rests_until = now + STRUCTURE_REST_SECONDS
        known.is_reading, known.is_doubted, known.began_at = True, False, now
        self._families.move_to_end(family)
        self._let_go()
        return Reading(family)

    def examine(self, job: Job, now: float) -> Examined:
        """Shape the job's values; may it go?"""
        known = self._families.get(job.asset.family)
        if known is None or known.structure is None:
            return self._examine_unshaped(job, known)
        job.shape(known.structure, self._rules.default_locale)
        if not job.flaws:
            return Examined.READY
        creates = self._rules.create_options and job.lacks_only_options
        if not self._rules.validate_values and not creates:
            return Examined.READY
        job.doubt(now)
        assert job.doubted_at is not None
        if known.began_at < job.doubted_at or known.is_reading:
            known.is_doubted = not known.is_reading
            return Examined.DOUBTFUL
        if not known.could_read:
            return Examined.READY
        if creates and self._plan_creations(job, known):
            return Examined.DOUBTFUL
        return Examined.FLAWED if self._rules.validate_values else Examined.READY

    def _examine_unshaped(self, job: Job, known: _Family | None) -> Examined:
        if job.doubted_at is None:
            return Examined.READY
        if known is not None and not known.is_reading and known.began_at >= job.doubted_at:
            return Examined.READY  # tried, and still unreadable
        if known is not None:
            known.is_doubted = not known.is_reading
        return Examined.DOUBTFUL

    def doubt(self, job: Job, now: float) -> bool:
        """The PIM refused the job's values. True where they were unshaped: try once more."""
        known = self._families.get(job.asset.family)
        if known is not None and not known.is_reading:
            known.is_doubted = True
        if job.is_shaped or job.doubted_at is not None:
            return False
        job.doubt(now)
        # A route that fails for a moment is given that moment.
        self._family(job.asset.family).rests_until = now + STRUCTURE_REST_SECONDS
        return True

    def park(self, job: Job) -> None:
        """The job waits for a reading or for its options."""
        self._family(job.asset.family).parked.append(job)
        self._errands[job.asset.family] = None

    # --- errands -----------------------------------------------------------------------------

    def next_errand(self, now: float) -> Reading | Creation | None:
        """What parked jobs wait for and may be asked now."""
        for family in list(self._errands):
            known = self._families[family]
            for creation in known.creating.values():
                if creation.not_before <= now and self._may_create(now):
                    creation.not_before = float("inf")  # until it ends
                    self._created_at.append(now)
                    return creation
            if known.creating or known.is_reading:
                continue
            if known.unfinished is None and now < known.rests_until:
                continue
            known.is_doubted = True
            return self.begin(family, now)
        return None

    def next_time(self) -> Iterator[float]:
        """When errands may go."""
        for family in self._errands:
            known = self._families[family]
            if known.creating:
                room = self._created_at[0] + 1.0 if self._created_at else float("-inf")
                yield from (max(room, c.not_before) for c in known.creating.values())
            elif known.unfinished is None and not known.is_reading:
                yield known.rests_until

    def read(self, reading: Reading) -> list[Job]:
        """The reading is done; the jobs that waited for it."""
        assert reading.attributes is not None
        known = self._family(reading.family)
        known.structure = Structure(reading.attributes, reading.options)
        known.is_reading, known.could_read = False, True
        known.refused.clear()
        return self._unpark(reading.family)

    def could_not_read(self, reading: Reading) -> list[Job]:
        """The reading failed: what was known stays, what waited goes on without."""
        known = self._family(reading.family)
        known.is_reading = known.could_read = False
        return self._unpark(reading.family)

    def put_off(self, errand: Reading | Creation, now: float) -> None:
        """It was cut or throttled: it goes on later where it is now."""
        if isinstance(errand, Creation):
            errand.not_before = now
        else:
            known = self._family(errand.family)
            known.is_reading, known.unfinished = False, errand

    def created(self, creation: Creation, answer: Answer, now: float) -> list[Job]:
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
        elif isinstance(answer, CallReply) and answer.own_json and not is_well(answer):
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
        self._errands.clear()
        for known in self._families.values():
            known.parked.clear()
            known.creating.clear()
            known.is_reading, known.unfinished = False, None

    def _plan_creations(self, job: Job, known: _Family) -> bool:
        """Whether every option that the job misses is, or will be, on its way."""
        assert known.structure is not None
        missing = [option for option in job.missing_options if option not in known.refused]
        if len(missing) < len(job.missing_options):
            return False
        for option in missing:
            if option in known.creating:
                continue
            planned = sum(attribute == option[0] for attribute, _ in known.creating)
            have = len(known.structure.options.get(option[0], ()))
            if have + planned >= OPTIONS_PER_ATTRIBUTE_MAX:
                known.refused.add(option)
                return False
            known.creating[option] = Creation(job.asset.family, option)
        return True

    def _let_go(self) -> None:
        """Keep as many families as memory is meant for: those read longest ago go."""
        surplus = len(self._families) - FAMILIES_KEPT_MAX
        if surplus <= 0:
            return
        for family in list(islice(self._families, surplus)):
            if not self._families[family].is_wanted:
                del self._families[family]

    def _may_create(self, now: float) -> bool:
        while self._created_at and now - self._created_at[0] >= 1.0:
            self._created_at.popleft()
        return len(self._created_at) < OPTIONS_PER_SECOND_MAX

    def _unpark(self, family: str) -> list[Job]:
        self._errands.pop(family, None)
        known = self._family(family)
        parked, known.parked = known.parked, []
        return parked

    def _family(self, family: str) -> _Family:
        known = self._families.get(family)
        if known is None:
            known = self._families[family] = _Family()
        return known
