"""What is answered from the head of a request alone, before its body is read."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from service.contracts.text import natural_number
from service.webhooks.delivery import HeaderFields
from service.webhooks.endpoint import Endpoint

HEADER_BYTES_MAX = 16 * 1024
"""Largest head of a request: its first line and its header fields."""

_NO_CODING = frozenset({b"", b"identity"})
_NOT_COMPRESSED = {"content-encoding": _NO_CODING, "transfer-encoding": _NO_CODING | {b"chunked"}}
"""The headers that may say that the body is compressed, with the values that do not."""


class Head(NamedTuple):
    """The first line and the header fields of a request."""

    method: str
    path: str
    query: str
    headers: HeaderFields

    @property
    def size(self) -> int:
        return len(self.method) + len(self.path) + len(self.query) + self.headers.size


class Answer(NamedTuple):
    """The status of an answer, and its body if it has one."""

    status: HTTPStatus
    body: bytes = b""
    allow: str = ""
    """The methods that the path has, for 405."""


def answer_to_head(
    head: Head, endpoints: Mapping[str, Endpoint], body_bytes_max: int
) -> Answer | Endpoint:
    """Return the answer to this head, or the endpoint to which its body has to be given."""
    endpoint = endpoints.get(head.path)
    if endpoint is None:
        return Answer(HTTPStatus.NOT_FOUND)
    if head.size > HEADER_BYTES_MAX:
        return Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if head.method != "POST":
        return _answer_to_other_method(head, endpoint)
    if _is_compressed(head.headers):
        return Answer(HTTPStatus.BAD_REQUEST)
    if _is_more(head.headers.first("content-length") or b"", body_bytes_max):
        return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return endpoint


def _is_more(digits: bytes, limit: int) -> bool:
    """Return whether these digits are a number above the limit; what is no number is not."""
    if not digits.isdigit():
        return False
    number = natural_number(digits.decode())
    return number is None or number > limit


def _is_compressed(headers: HeaderFields) -> bool:
    return any(
        coding.strip().lower() not in allowed
        for name, allowed in _NOT_COMPRESSED.items()
        for coding in headers.all(name)
    )


def _answer_to_other_method(head: Head, endpoint: Endpoint) -> Answer:
    challenge = endpoint.scheme.answer_to_get(head.query) if head.method == "GET" else None
    if challenge is None:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, allow=endpoint.methods)
    return Answer(HTTPStatus.OK, challenge)
