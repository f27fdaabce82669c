"""The orders of the core, named in the imperative. The runtime only carries them out."""

import msgspec

from service.core.facts import Fact
from service.core.model import Origin, Partition
from service.core.records import Transaction
from service.core.requests import Request


class StartCall(msgspec.Struct, frozen=True):
    """Send this request, and report its end with one `CallEnded`."""

    call_id: int
    request: Request
    origins: tuple[Origin, ...] = ()
    """The records whose changes a write carries, for tracing."""


class CancelCall(msgspec.Struct, frozen=True):
    """Cancel a request in flight; it ends with a `CallFault` of kind CANCELLED."""

    call_id: int


class AllowRequest(msgspec.Struct, frozen=True):
    """Let the additional request go out that a call asked for with `RequestWanted`."""

    call_id: int


class StartDownload(msgspec.Struct, frozen=True):
    """Fetch a file, and report its end with one `DownloadEnded`.

    A file that was fetched stays on disk under `file_id` until `DropFile`.
    """

    file_id: int
    url: str
    bytes_max: int
    etag: str | None = None
    """The ETag of the last answer to this URL, to ask whether the file has changed since."""


class CancelDownload(msgspec.Struct, frozen=True):
    """Cancel a download; it ends with a `DownloadFault` that is cancelled, if it has not ended."""

    file_id: int


class DropFile(msgspec.Struct, frozen=True):
    """Delete a file that was fetched: nothing needs it any more."""

    file_id: int


class Commit(msgspec.Struct, frozen=True):
    """Write the transaction, and report `Committed` or `CommitRefused` with its number."""

    number: int
    transaction: Transaction


class SetIntake(msgspec.Struct, frozen=True):
    """Pause exactly these partitions, and resume all others."""

    paused: frozenset[Partition]


class Drained(msgspec.Struct, frozen=True):
    """The drain is over; `pending` changes are left to the next owner of the partitions."""

    pending: int


class DropAssignment(msgspec.Struct, frozen=True):
    """Give the assignment up without a last transaction: the group fenced this replica."""


CommonEffect = Commit | SetIntake | Drained | DropAssignment | Fact
"""What every state machine asks for that a runner runs, whatever its requests are."""

RequestEffect = StartCall | CancelCall | AllowRequest
"""What the pipeline asks of its requests to the PIM."""

MediaEffect = StartDownload | CancelDownload | DropFile
"""What the pipeline asks for the files of assets."""

PipelineEffect = RequestEffect | MediaEffect
"""What the pipeline alone asks for."""

Effect = CommonEffect | PipelineEffect
