"""Requests to the PIM, and exchanges of several in one call (architecture.md D6, D7)."""

from collections.abc import Generator
from typing import Generic, NamedTuple, TypeVar

import msgspec

from service.core.inputs import Answer
from service.core.model import UpsertAsset


class UpsertAssets(msgspec.Struct, frozen=True):
    """PATCH several assets of one family: at most 100, each once."""

    family: str
    assets: tuple[UpsertAsset, ...]


class DeleteOne(msgspec.Struct, frozen=True):
    """DELETE one asset."""

    family: str
    code: str


class GetFamily(msgspec.Struct, frozen=True):
    """GET one family: does it exist, and does the PIM answer?"""

    family: str


class GetFamilies(msgspec.Struct, frozen=True):
    """GET the family list: does the PIM answer as itself? It logs in where that is needed."""


class GetAttributes(msgspec.Struct, frozen=True):
    """GET the attributes of a family."""

    family: str


class GetOptions(msgspec.Struct, frozen=True):
    """GET the options of an attribute."""

    family: str
    attribute: str


class CreateOption(msgspec.Struct, frozen=True):
    """PATCH an option that is not there."""

    family: str
    attribute: str
    code: str


Request = (
    UpsertAssets | DeleteOne | GetFamily | GetFamilies | GetAttributes | GetOptions | CreateOption
)


class Answered(NamedTuple):
    """An answer, and when it came (seconds of the monotonic clock)."""

    answer: Answer
    at: float


Result = TypeVar("Result")


Steps = Generator[Request, Answered, Result]


class Exchange(Generic[Result]):
    """Requests and answers, one after the other."""

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps
        self.request = next(steps)
        """What is to be asked next."""
        self.has_begun = False
        """Whether any answer was taken."""

    def take(self, answer: Answer, now: float) -> Result | None:
        """Take the answer to `request`: what came of it all; None where one more is to be asked."""
        self.has_begun = True
        try:
            self.request = self._steps.send(Answered(answer, now))
        except StopIteration as end:
            result: Result = end.value
            return result
        return None
