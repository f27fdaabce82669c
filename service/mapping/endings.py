"""How the mapping of an item or a record ends early; the exceptions never leave the package."""

from service.mapping.results import EndReason, EndStatus


class EndedError(Exception):
    """Ends an item without a change: `MappedSource.map` turns it into an `Ended`."""

    def __init__(self, status: EndStatus, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class UnmappableError(EndedError):
    """The event lacks or breaks what the mapping needs."""

    def __init__(self, message: str) -> None:
        super().__init__("rejected", "unmappable", message)


class RecordEndedError(EndedError):
    """Ends the record as a whole."""
