"""Reads the answer of a DAM's host: which value of `read_answers.py` it stands for.

Rule 1: only a 4xx that speaks of this request alone may reject an event. A status that speaks of
the credentials, of the load or of the host is its trouble, and costs no event.
"""

from collections.abc import Collection
from http import HTTPStatus

from service.adapters.http_client import RawReply, read_retry_after, status_text
from service.mapping.results import NotFound
from service.translation.read_answers import (
    REFUSAL_CHARACTERS_MAX,
    Found,
    HostTrouble,
    ReadAnswer,
    Refused,
)

BODY_BYTES_SHOWN_MAX = 8 * 1024
"""The message is made of so much of the body: many of its characters may be spaces."""

COVER = "**********"

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TROUBLE_OF_HOST = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


def read_answer(raw: RawReply, hidden: Collection[str] = ()) -> ReadAnswer:
    """Return what the answer means for the event that was to be read.

    The secrets in `hidden` are covered where the host repeats them.
    """
    if raw.status == HTTPStatus.OK:
        return Found(raw.body)
    if raw.status in _GONE:
        return NotFound()
    if 400 <= raw.status < 500 and raw.status not in _TROUBLE_OF_HOST:
        return Refused(raw.status, beginning(raw.body, hidden))
    return trouble(raw, hidden)


def trouble(raw: RawReply, hidden: Collection[str] = ()) -> HostTrouble:
    """Return the trouble that an answer tells of; `hidden` as in `read_answer`."""
    retry_after = read_retry_after(raw.headers.get("retry-after"))
    message = f"answered {status_text(raw.status)}"
    if raw.status in _REDIRECTS:
        message += ", and redirects are not followed"
    if text := beginning(raw.body, hidden):
        message += f": {text}"
    return HostTrouble(message, raw.status, retry_after)


def beginning(body: bytes, hidden: Collection[str] = ()) -> str:
    """Return the first characters of a body on one line, for a message."""
    text = body[:BODY_BYTES_SHOWN_MAX].decode("utf-8", "replace")
    for secret in hidden:
        text = text.replace(secret, COVER)
    words = "".join(one if one.isprintable() else " " for one in text).split()
    return " ".join(words)[:REFUSAL_CHARACTERS_MAX]
