"""Facts about the console, for logs and metrics. They decide nothing."""

from typing import ClassVar, Literal

from service.console.query import Kind
from service.core.facts import Fact

WhyRebuilt = Literal["missing", "damaged", "schema", "topic", "positions"]
"""Why an index is built from the beginning.

missing: there is none. damaged: SQLite reports a damaged file. schema: another version of
asset-sync wrote it. topic: it belongs to another cluster, or the topic was created again.
positions: the topic ends before what was read of it.
"""

PageEnd = Literal["200", "400", "403", "404", "500", "503"]
"""The statuses of an answer. 500 is a bug of asset-sync."""


class IndexOpened(Fact, frozen=True):
    """The index of an earlier start is used again."""

    name: ClassVar[str] = "index.opened"
    outcomes: int
    size_bytes: int


class IndexRebuilt(Fact, frozen=True):
    """A new index is built from the topic."""

    name: ClassVar[str] = "index.rebuilt"
    why: WhyRebuilt
    message: str = ""


class OutcomesIndexed(Fact, frozen=True):
    """A transaction with these outcomes is committed in the index; `ignored` are no outcomes."""

    name: ClassVar[str] = "index.written"
    outcomes: int
    ignored: int


class OutcomesDropped(Fact, frozen=True):
    """The oldest part of the index was deleted, because of its size or its age."""

    name: ClassVar[str] = "index.dropped"
    outcomes: int
    size_bytes: int


class OutcomesMissed(Fact, frozen=True):
    """The topic no longer has outcomes that were not read yet, because of its retention."""

    name: ClassVar[str] = "index.missed"
    partition: int
    offsets: int


class SearchEnded(Fact, frozen=True):
    """A search was answered; `is_partial` says that it ended early."""

    name: ClassVar[str] = "console.searched"
    kind: Kind
    seconds: float
    is_partial: bool


class PageAnswered(Fact, frozen=True):
    """A page was answered with this status."""

    name: ClassVar[str] = "console.answered"
    answer: PageEnd


class ReplicaUnreachable(Fact, frozen=True):
    """A replica did not say what it is working on."""

    name: ClassVar[str] = "console.replica_unreachable"
    address: str
    message: str
