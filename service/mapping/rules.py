"""Rules: what an item becomes once its rule is known.

Rule 1: the family is judged before the code, the code before the values.
Rule 2: `on_delete` and `on_archive` were resolved by the compiler; what is left of `do` is upsert,
delete, skip or reject.
Rule 3: an upsert with `fetch` asks the DAM first; a delete never does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from service.mapping.attributes import Fill
from service.mapping.conditions import Holds
from service.mapping.context import ContextOf
from service.mapping.endings import EarlyEndError, ItemEndedError, UnmappableError
from service.mapping.json_values import ABSENT
from service.mapping.naming import NameOf
from service.mapping.results import (
    Action,
    Change,
    Ended,
    EventFacts,
    Fetched,
    NotFound,
    NotFoundPolicy,
    Part,
    Read,
    Resumed,
    Values,
)
from service.mapping.scope import Path, Scope
from service.mapping.templates import TemplateOf
from service.mapping.work import Work

Do = Literal["upsert", "delete", "skip", "reject"]


@dataclass(frozen=True, slots=True)
class Items:
    """A path to the items of an event, with its text and its line for messages."""

    path: Path
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Root:
    """A path to the part of an event that the other paths start from, and its line."""

    path: Path
    where: str


@dataclass(frozen=True, slots=True)
class Asking:
    """How the DAM is asked for an asset."""

    host: str
    url: TemplateOf
    where: str
    delay_seconds: float
    only: Holds | None
    not_found: NotFoundPolicy


@dataclass(frozen=True, slots=True)
class Naming:
    """How the asset of an item is named. With `families`, a delete goes to each of them."""

    family: NameOf | None
    families: tuple[str, ...]
    code: NameOf


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with everything that it takes from its source."""

    name: str | None
    when: Holds | None
    items: Items | None
    do: Do
    because: str
    """The message of skip and reject."""
    naming: Naming | None = None
    """There for upsert and delete."""
    root: Root | None = None
    fills: tuple[Fill, ...] = ()
    constants: Mapping[str, object] | None = None
    context: ContextOf | None = None
    asking: Asking | None = None

    def ended(self, part: int | None, facts: EventFacts) -> Ended:
        """Return the end of an item that the rule skips or rejects."""
        if self.do == "skip":
            return Ended(part, "skipped", "not_selected", self.because, rule=self.name, event=facts)
        return Ended(part, "rejected", "unmappable", self.because, rule=self.name, event=facts)

    def decide(self, scope: Scope, part: int, facts: EventFacts) -> tuple[Part, ...]:
        """Return what an item becomes that is written, deleted or read back."""
        if self.asking is None:
            return self._changes("upsert" if self.do == "upsert" else "delete", scope, part, facts)
        try:
            return (self._read(self.asking, scope, part, facts),)
        except ItemEndedError as end:
            return (self._ended_by(end, part, facts),)

    def _changes(
        self, action: Action, scope: Scope, part: int, facts: EventFacts
    ) -> tuple[Change | Ended, ...]:
        assert self.naming is not None
        family = code = None
        try:
            if self.root is not None and scope.start is not ABSENT:
                scope = self._below_root(self.root, scope)
            families = self.naming.families if action == "delete" else ()
            if not families:
                assert self.naming.family is not None
                family = self.naming.family(scope)
            code = self.naming.code(scope)
            context = None if self.context is None else self.context(scope)
            values = self._values(scope) if action == "upsert" else None
        except ItemEndedError as end:
            return (self._ended_by(end, part, facts, family, code),)
        if family is not None:
            return (Change(part, 0, action, family, code, values, context, self.name, facts),)
        return tuple(
            Change(part, further, action, each, code, values, context, self.name, facts)
            for further, each in enumerate(families)
        )

    @staticmethod
    def _below_root(root: Root, scope: Scope) -> Scope:
        start = root.path(scope)
        if start is ABSENT or start is None:
            raise UnmappableError(f"The event lacks the part that `root` names ({root.where})")
        return scope.starting_at(start)

    def _values(self, scope: Scope) -> Values:
        scope.work.spend(len(self.fills))
        values: dict[str, object] = {}
        for fill in self.fills:
            fill(scope, values)
        if self.constants is not None:
            values.update(self.constants)
        return values

    def _ended_by(
        self,
        end: EarlyEndError,
        part: int,
        facts: EventFacts,
        family: str | None = None,
        code: str | None = None,
    ) -> Ended:
        return Ended(part, end.status, end.reason, end.message, family, code, self.name, facts)

    # --- read back ---------------------------------------------------------------------------

    def _read(self, asking: Asking, scope: Scope, part: int, facts: EventFacts) -> Read:
        try:
            url = asking.url(scope)
        except UnmappableError as error:
            raise UnmappableError(f"fetch.url: {error.message} ({asking.where})") from None
        if not isinstance(url, str):
            raise UnmappableError(f"The event lacks a part of `fetch.url` ({asking.where})")
        if not url.startswith("/"):
            url = f"/{url}"

        def resume(fetched: Fetched) -> Resumed:
            anew = replace(scope, work=Work())
            try:
                parts = self._resume(asking, anew, part, facts, fetched)
            except EarlyEndError as end:
                parts = (self._ended_by(end, part, facts),)
            return Resumed(parts, anew.work.spent)

        return Read(
            part, asking.host, url, asking.delay_seconds, asking.not_found, resume, self.name, facts
        )

    def _resume(
        self, asking: Asking, scope: Scope, part: int, facts: EventFacts, fetched: Fetched
    ) -> tuple[Change | Ended, ...]:
        if isinstance(fetched, NotFound):
            return self._not_found(asking.not_found, scope, part, facts)
        answered = replace(scope, start=fetched, fetched=fetched)
        if asking.only is not None and not asking.only(answered):
            raise ItemEndedError(
                "skipped", "not_selected", "`fetch.only` does not hold for the DAM's answer."
            )
        return self._changes("upsert", answered, part, facts)

    def _not_found(
        self, policy: NotFoundPolicy, scope: Scope, part: int, facts: EventFacts
    ) -> tuple[Change | Ended, ...]:
        match policy:
            case "skip":
                raise ItemEndedError("skipped", "not_found", "The DAM no longer has the asset.")
            case "reject":
                raise UnmappableError("The DAM no longer has the asset.")
            case "delete":
                gone = replace(scope, start=ABSENT)
                return self._changes("delete", gone, part, facts)
