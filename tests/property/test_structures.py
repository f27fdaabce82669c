"""Reading, keeping and doubting structures, with a replica in virtual time."""

import pytest

from service.core.inputs import Answer, CallFault, CallReply, FaultKind, ItemReply
from service.core.limits import StructureOptions
from service.core.requests import (
    CreateOption,
    Exchange,
    GetAttributes,
    GetOptions,
    Request,
    UpsertAssets,
)
from service.core.send.exchange import create_option
from service.core.send.families import Families
from service.core.send.structure_cache import OptionCreate, StructureCache
from service.core.values import Attribute
from tests.support.builders import flat
from tests.support.drive import Drive

ATTRIBUTES = (
    Attribute("colors", "multiple_options"),
    Attribute("label", "text", per_locale=True),
    Attribute("pages", "number", most="10"),
)


class Pim:
    """Knows a structure, and refuses what does not fit it."""

    def __init__(self, *colors: str) -> None:
        self.colors = set(colors)
        self.asked: list[Request] = []
        self.structure_fails = False

    def __call__(self, request: Request, _: float) -> Answer | None:
        self.asked.append(request)
        if isinstance(request, GetAttributes | GetOptions | CreateOption) and self.structure_fails:
            return CallReply(500)
        match request:
            case GetAttributes():
                return CallReply(200, is_from_pim=True, attributes=ATTRIBUTES)
            case GetOptions():
                return CallReply(200, is_from_pim=True, options=frozenset(self.colors))
            case CreateOption(_, _, code):
                self.colors.add(code)
                return CallReply(201)
            case UpsertAssets(_, assets):
                items = [
                    ItemReply(
                        asset.asset.code,
                        201 if all(map(self.takes, flat(asset.values).items())) else 422,
                    )
                    for asset in assets
                ]
                return CallReply(200, is_from_pim=True, items=tuple(items))
            case _:
                return None

    def takes(self, value: tuple[tuple[str, str | None, str | None], object]) -> bool:
        """Whether the PIM takes one value."""
        (attribute, locale, _), data = value
        if attribute == "colors":
            return isinstance(data, list) and set(data) <= self.colors
        return attribute != "label" or locale is not None

    def count(self, kind: type) -> int:
        """How often that was asked."""
        return sum(isinstance(request, kind) for request in self.asked)


def drive(pim: Pim, **limits: object) -> Drive:
    """A replica that reads structures."""
    given = StructureOptions(**limits)  # type: ignore[arg-type]
    return Drive(pim, limits={"structure": given})


def test_a_structure_is_read_once() -> None:
    """Before the family's first upserts; then it is kept."""
    pim = Pim("red")
    made = drive(pim)
    ids = [made.upsert("packshots", f"a{number}", colors="red") for number in range(500)]
    made.run()

    assert made.statuses(ids) == {"applied": 500}
    assert (pim.count(GetAttributes), pim.count(GetOptions)) == (1, 1)


def test_it_is_read_anew_by_age() -> None:
    """After `max_age_seconds`, beside the work."""
    pim = Pim("red")
    made = drive(pim, max_age_seconds=100.0)
    for second in range(350):
        made.upsert("packshots", f"a{second}", colors="red")
        made.run(1)

    assert pim.count(GetAttributes) == 4


def test_what_the_pim_would_refuse_is_rejected_without_a_call() -> None:
    """With a message that names attribute and rule; its neighbours are applied."""
    pim = Pim("red")
    made = drive(pim)
    bad = made.upsert("packshots", "bad", pages="11")
    good = made.upsert("packshots", "good", pages="10")
    made.run()

    found = made.outcomes[bad]
    assert (found["status"], found["reason"]) == ("rejected", "invalid_values")
    assert found["message"].startswith("pages accepts at most 10; 11 given.")
    assert "reasons.md#invalid_values" in found["message"]
    assert found["errors"][0]["attribute"] == "pages"
    assert (found["pim"], found["attempts"]) == (None, 0)
    assert made.statuses([good]) == {"applied": 1}


def test_one_reading_judges_all_changes_of_a_hot_bad_asset() -> None:
    """Merged and taken apart, each by itself would wait for a reading of its own: five seconds."""
    pim = Pim("red")
    made = drive(pim)
    made.upsert("packshots", "a", colors="red")
    made.run(10)
    bad = [made.upsert("packshots", "bad", pages=str(11 + number)) for number in range(100)]
    began = made.now
    made.run()

    assert {made.outcomes[one]["status"] for one in bad} == {"rejected"}
    assert max(made.settled_at[one] for one in bad) - began < 15
    assert pim.count(GetAttributes) <= 3


def test_validation_can_be_left_to_the_pim() -> None:
    """Then its own words are passed on."""
    made = drive(Pim("red"), validate_values=False)
    bad = made.upsert("packshots", "bad", colors="teal")
    made.run()
    assert made.outcomes[bad]["reason"] == "refused_by_pim"


def test_nothing_is_rejected_by_an_old_reading() -> None:
    """An option that was made since: the doubt reads anew, and the change is applied."""
    pim = Pim("red")
    made = drive(pim)
    made.upsert("packshots", "a", colors="red")
    made.run(60)
    pim.colors.add("teal")
    late = made.upsert("packshots", "b", colors="teal")
    made.run()

    assert made.statuses([late]) == {"applied": 1}
    assert pim.count(GetAttributes) == 2


def test_doubts_read_at_most_every_five_seconds() -> None:
    """A stream of bad values costs few readings, and delays nobody else."""
    pim = Pim("red")
    made = drive(pim)
    bad, good = [], []
    for second in range(100):
        bad.append(made.upsert("packshots", f"bad{second}", colors="teal"))
        good.append(made.upsert("packshots", f"good{second}", colors="red"))
        made.run(1)
    made.run()

    assert made.statuses(bad) == {"rejected": 100}
    assert made.statuses(good) == {"applied": 100}
    assert pim.count(GetAttributes) <= 24
    waits = [made.settled_at[id_] - second for second, id_ in enumerate(good)]
    assert max(waits) < 5


def test_an_unreadable_structure_stops_nothing() -> None:
    """Values go as they came."""
    pim = Pim("red")
    pim.structure_fails = True
    made = drive(pim)
    ids = [made.upsert("packshots", f"a{number}", pages="3") for number in range(50)]
    made.run()

    assert made.statuses(ids) == {"applied": 50}


def test_a_refusal_of_unshaped_values_is_believed_only_after_another_reading() -> None:
    """The structure could not be read for a moment: no change is lost by that."""
    pim = Pim("red")
    pim.structure_fails = True
    made = drive(pim)
    first = made.upsert("packshots", "a", colors="red")
    made.run(3)
    pim.structure_fails = False
    made.run()

    assert made.outcomes[first]["status"] == "applied"


def test_a_refusal_stays_one_where_the_structure_stays_unreadable() -> None:
    """Not tried for ever."""
    pim = Pim("red")
    pim.structure_fails = True
    made = drive(pim)
    first = made.upsert("packshots", "a", colors="red")
    made.run()

    assert made.outcomes[first]["reason"] == "refused_by_pim"
    assert made.outcomes[first]["attempts"] == 2


@pytest.mark.parametrize(("locale", "status"), [("en_US", "applied"), (None, "rejected")])
def test_the_default_locale(locale: str | None, status: str) -> None:
    """A bare value for an attribute that differs by locale."""
    made = drive(Pim(), default_locale=locale)
    only = made.upsert("packshots", "a", label="Side")
    made.run()
    assert made.outcomes[only]["status"] == status


def test_a_thousand_events_with_one_new_colour_make_one_option() -> None:
    """One call, then everything goes."""
    pim = Pim("red")
    made = drive(pim, create_options=True)
    ids = [made.upsert("packshots", f"a{number}", colors="teal") for number in range(1000)]
    made.run()

    assert made.statuses(ids) == {"applied": 1000}
    assert pim.count(CreateOption) == 1


def test_options_are_created_within_three_a_second() -> None:
    """As the PIM wants it for options (akeneo.md §7)."""
    made = drive(Pim(), create_options=True)
    ids = [made.upsert("packshots", f"a{number}", colors=f"c{number}") for number in range(30)]
    made.run()

    times = sorted(s.at for s in made.sent if isinstance(s.request, CreateOption))
    assert len(times) == 30
    assert all(
        later - sooner >= 1.0 - 1e-9 for sooner, later in zip(times, times[3:], strict=False)
    )
    assert made.statuses(ids) == {"applied": 30}


def test_an_attribute_takes_a_hundred_options() -> None:
    """The rest is rejected, and says what is missing."""
    pim = Pim(*(f"old{number}" for number in range(98)))
    made = drive(pim, create_options=True)
    ids = [made.upsert("packshots", f"a{number}", colors=f"new{number}") for number in range(5)]
    made.run()

    assert made.statuses(ids) == {"applied": 2, "rejected": 3}
    assert pim.count(CreateOption) == 2


def test_a_change_with_too_many_options_creates_none() -> None:
    """Those that fit would be left in the PIM without the change that named them."""
    pim = Pim(*(f"old{number}" for number in range(98)))
    made = drive(pim, create_options=True)
    bad = made.upsert("packshots", "a", colors=["new0", "new1", "new2"])
    good = made.upsert("packshots", "b", colors="new3")
    made.run()

    assert made.statuses([bad]) == {"rejected": 1}
    assert made.statuses([good]) == {"applied": 1}
    assert "new0" not in pim.colors


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("teal", CallReply(422, is_from_pim=True, message="no")),
        ("..", CallFault(FaultKind.UNSENDABLE, "A code that is `.` or `..`.")),
    ],
)
def test_an_option_that_cannot_be_created_is_not_tried_again(code: str, answer: Answer) -> None:
    """Its changes are rejected, whether the PIM refuses it or its code cannot be sent."""

    class Strict(Pim):
        def __call__(self, request: Request, now: float) -> Answer | None:
            usual = super().__call__(request, now)
            if isinstance(request, CreateOption):
                self.colors.discard(request.code)
                return answer
            return usual

    pim = Strict("red")
    made = drive(pim, create_options=True)
    bad = made.upsert("packshots", "a", colors=code)
    made.run()

    assert made.outcomes[bad]["reason"] == "invalid_values"
    assert pim.count(CreateOption) == 1


def test_merged_changes_are_shaped_one_by_one_and_taken_apart() -> None:
    """A flawed change among merged ones is rejected alone; the others are applied in order."""
    made = drive(Pim("red"))
    first = made.upsert("packshots", "a", pages="1")
    second = made.upsert("packshots", "a", pages="99")
    third = made.upsert("packshots", "a", pages="3")
    made.run()

    statuses = [made.outcomes[id_]["status"] for id_ in (first, second, third)]
    assert statuses == ["applied", "rejected", "applied"]


def test_memory_for_structures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events may name any number of families; those read longest ago are let go."""
    monkeypatch.setattr("service.core.send.structure_cache.FAMILIES_KEPT_MAX", 10)
    pim = Pim("red")
    made = drive(pim)
    ids = [made.upsert(f"family{number % 50}", f"a{number}") for number in range(200)]
    made.run()

    structure_cache = made.pipeline.dispatcher.structure_cache
    assert structure_cache is not None
    assert len(structure_cache._families) <= 10 + 4, "and those being read"
    assert made.statuses(ids) == {"applied": 200}


def test_a_creation_that_ends_after_a_revocation_is_nobodys() -> None:
    """The assignment that asked for it is over; its jobs are gone with it."""
    limits = StructureOptions(create_options=True)
    structure_cache = StructureCache(limits, jitter=lambda: 0.5, known_families=Families())
    exchange = Exchange(create_option(CreateOption("packshots", "colors", "teal")))
    late = OptionCreate("packshots", ("colors", "teal"), exchange)
    structure_cache.forget()
    assert structure_cache.created(late, CallReply(201), now=1.0) == []
