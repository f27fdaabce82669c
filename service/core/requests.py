"""Requests to the PIM, and exchanges of several requests in one call (architecture.md D6, D7)."""

from collections.abc import Generator
from typing import Generic, NamedTuple, TypeVar

import msgspec

from service.core.inputs import Answer
from service.core.model import UpsertAsset


class UpsertAssets(msgspec.Struct, frozen=True):
    """PATCH at most 100 assets of one family, each of them once."""

    family: str
    assets: tuple[UpsertAsset, ...]


class DeleteOne(msgspec.Struct, frozen=True):
    """DELETE one asset of a family."""

    family: str
    code: str


class GetFamily(msgspec.Struct, frozen=True):
    """GET one family, to see whether it exists and whether the PIM answers."""

    family: str


class GetFamilies(msgspec.Struct, frozen=True):
    """GET the list of families, to see whether the PIM answers; this logs in if necessary."""


class GetAttributes(msgspec.Struct, frozen=True):
    """GET the attributes of one family."""

    family: str


class GetOptions(msgspec.Struct, frozen=True):
    """GET the options of one attribute."""

    family: str
    attribute: str


class CreateOption(msgspec.Struct, frozen=True):
    """PATCH an option that does not exist, which creates it."""

    family: str
    attribute: str
    code: str


class UploadFile(msgspec.Struct, frozen=True):
    """POST a file that was downloaded; the PIM answers with its code (akeneo.md §6)."""

    file_id: int
    name: str
    content_type: str | None = None
    size: int | None = None
    """Bytes that were downloaded; None if the file was not."""


Request = (
    UpsertAssets
    | DeleteOne
    | GetFamily
    | GetFamilies
    | GetAttributes
    | GetOptions
    | CreateOption
    | UploadFile
)


class TimedAnswer(NamedTuple):
    """An answer, and when it arrived (seconds of the monotonic clock)."""

    answer: Answer
    at: float


Result = TypeVar("Result")


Steps = Generator[Request, TimedAnswer, Result]


class Exchange(Generic[Result]):
    """Drives a generator that yields requests, is sent their answers and returns a result.

    One call to the PIM may take several requests: the write, and then the family to find out what
    a 404 means.
    """

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps
        self.request = next(steps)
        """The request to send next."""
        self.has_begun = False
        """Whether any answer has arrived."""

    def take(self, answer: Answer, now: float) -> Result | None:
        """Take the answer to `request`; return the result, or None if another request follows."""
        self.has_begun = True
        try:
            self.request = self._steps.send(TimedAnswer(answer, now))
        except StopIteration as end:
            result: Result = end.value
            return result
        return None
