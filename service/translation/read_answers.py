"""What a DAM's host can answer to the read of an asset: a value for each way a request may end."""

from dataclasses import dataclass

from service.mapping.results import NotFound

REFUSAL_CHARACTERS_MAX = 200
"""Most characters of a refusal's body that its message shows."""


@dataclass(frozen=True, slots=True)
class Found:
    """The host answered 200; the body is not decoded yet."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The host answered with a 4xx that speaks of this request alone; `text` begins its body.

    `status` is None for a request that cannot be sent; `text` then says why.
    """

    status: int | None
    text: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The answer has more bytes than the host's `max_bytes`."""

    bytes_max: int


@dataclass(frozen=True, slots=True)
class HostTrouble:
    """There is no usable answer; whether the host or the asset is to blame is not known yet.

    `message` goes on after the host's name, in a sentence for a person. `status` is None where
    nothing answered. `retry_after_seconds` is what the host asked for.
    """

    message: str
    status: int | None = None
    retry_after_seconds: float | None = None

    def sentence(self, host: str) -> str:
        """Return the message as a sentence about the host of this name."""
        return f"The host {host} {self.message.rstrip('.')}."


ReadAnswer = Found | NotFound | Refused | TooLarge | HostTrouble
