"""`AssetApi` over HTTP: it sends a request with a valid token and translates the answer.

It does not retry (a 401 excepted, which renews the token) and does not judge. Each result of a
request becomes one of these values:

* an answer, whatever its status                      → CallReply
* no answer within the timeout                        → CallFault TIMEOUT
* a code cannot be part of a URL                      → CallFault UNSENDABLE
* the file to upload is no longer on disk             → CallFault FILE_LOST
* the credentials are refused or cannot be read       → CallFault CREDENTIALS
* the lease ended before the request was sent         → CallFault CANCELLED
* any other error                                     → CallFault CONNECTION
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import quote

from service.adapters.akeneo.auth import NoTokenError, RefusedError, TokenReply, renewal
from service.adapters.akeneo.client import REPLY_BYTES_MAX, PimClient
from service.adapters.akeneo.multipart import FileLostError
from service.adapters.akeneo.wire import HttpRequest, read_answer, read_reply, write_request
from service.adapters.http_client import RawReply, TakePart, TooLargeError, in_words
from service.adapters.tokens import Token, TokenKeeper
from service.core.facts import RequestEnded
from service.core.inputs import CANCELLED, Answer, CallFault, CallReply, FaultKind
from service.core.model import Origin
from service.core.requests import Request
from service.ports import (
    MEDIA_FILES_PATH,
    Observer,
    Observers,
    RequestEnd,
    StoredFiles,
    status_class,
)
from service.settings import Credentials, PimSettings, SettingsError

Permit = Callable[[], Awaitable[None]]


class Uploads(NamedTuple):
    """The files that may be uploaded, and how long one upload may take."""

    files: StoredFiles
    timeout_seconds: float


class _LeaseEndedError(Exception):
    """The lease ended while the token was fetched, so the request must not be sent."""


class _NoAnswerError(Exception):
    """A request took longer than it may; the message says how long that is."""


class HttpAssetApi:
    """The Asset API of one PIM, called with the credentials of one connection or app."""

    def __init__(
        self,
        pim: PimSettings,
        credentials: Callable[[], Credentials],
        observer: Observer | None = None,
        uploads: Uploads | None = None,
    ) -> None:
        """Prepare the client; connections are opened by the first request.

        Args:
            pim: how the PIM is reached.
            credentials: reads the credentials at each login.
            observer: receives the end of each request.
            uploads: the files that may be uploaded; None where media are off.

        Raises:
            SettingsError: a URL, a CA or a client certificate in the settings cannot be used.
        """
        self._observer = observer or Observers()
        self._client = PimClient(pim, uploads.files if uploads else None)
        self._timeout_seconds = pim.timeout_seconds
        self._upload_seconds = uploads.timeout_seconds if uploads else pim.timeout_seconds
        self._credentials = credentials
        self._tokens = TokenKeeper()
        self._refresh_token: str | None = None

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),  # noqa: ARG002 - traces use it
        *,
        permit: Permit,
        may_write: Callable[[], bool],
    ) -> Answer:
        """Send the request with a valid token; after a 401, renew the token and send it again."""
        written = write_request(request)
        if written is None:
            message = "A family or code `.` or `..` cannot be part of a URL: nothing was sent."
            return CallFault(FaultKind.UNSENDABLE, message)
        try:
            raw = await self._send_with_token(written, permit, may_write)
            return read_answer(request, raw.status, raw.headers, raw.body)
        except _LeaseEndedError:
            return CANCELLED
        except NoTokenError as error:
            return _without_token(error.reply)
        except Exception as error:  # noqa: BLE001 - no error of a library may end the service
            return _fault_of(error)

    async def ask(self, method: str, path: str, body: bytes | None = None) -> RawReply | CallFault:
        """Send one request with a valid token, and return the answer unread; commands use this."""
        return await self._ask(HttpRequest(method, path, body))

    async def get_media_file(self, code: str, take: TakePart) -> RawReply | CallFault:
        """Read an uploaded file (akeneo.md §6), and pass its content on as it comes.

        It may take as long as it takes, while the PIM is never silent for the timeout of a request.
        """
        return await self._ask(HttpRequest("GET", f"{MEDIA_FILES_PATH}/{quote(code)}"), take)

    async def _ask(
        self, written: HttpRequest, take: TakePart | None = None
    ) -> RawReply | CallFault:
        async def permit() -> None: ...

        try:
            token, _ = await self._token(permit)
            authorization = f"Bearer {token.access}"
            if take is None:
                return await self._request(written, authorization)
            return await self._stream(written, authorization, take)
        except NoTokenError as error:
            message = f"The PIM gave no token: {error.reply.message}"
            return CallFault(FaultKind.CONNECTION, message)
        except Exception as error:  # noqa: BLE001 - a command shows the error in its report
            return _fault_of(error)

    async def _stream(self, written: HttpRequest, authorization: str, take: TakePart) -> RawReply:
        seconds_max = self._timeout_seconds
        now = asyncio.get_running_loop().time

        def take_in_time(part: bytes, length: int | None) -> None:
            limit.reschedule(now() + seconds_max)
            take(part, length)

        try:
            async with asyncio.timeout(seconds_max) as limit:
                return await self._client.exchange_in_parts(written, authorization, take_in_time)
        except TimeoutError:
            raise _NoAnswerError(f"No answer within {seconds_max:g} s.") from None

    async def close(self) -> None:
        await self._client.close()

    async def _send_with_token(
        self, written: HttpRequest, permit: Permit, may_write: Callable[[], bool]
    ) -> RawReply:
        token, was_fetched = await self._token(permit)
        if was_fetched:
            await permit()  # the rate limit counted the token's request in place of this one
        raw = await self._exchange(written, token, may_write)
        if raw.status != 401:
            return raw
        self._tokens.drop(token)
        renewed, _ = await self._token(permit)
        if renewed == token:
            return raw  # an app token that was revoked cannot be renewed
        await permit()
        return await self._exchange(written, renewed, may_write)

    async def _exchange(
        self, written: HttpRequest, token: Token, may_write: Callable[[], bool]
    ) -> RawReply:
        if not may_write():
            raise _LeaseEndedError
        return await self._request(written, f"Bearer {token.access}")

    async def _token(self, permit: Permit) -> tuple[Token, bool]:
        """Return the token, and whether this call fetched it now."""
        requests = 0

        async def counted() -> None:
            nonlocal requests
            requests += 1
            if requests > 1:
                await permit()  # the first request uses the permit of the call itself

        token = await self._tokens.get(lambda: self._fetch(counted))
        return token, requests > 0

    async def _fetch(self, permit: Permit) -> Token:
        """Return a new token; `permit` is awaited before each request for it."""
        credentials = self._credentials()
        if credentials.app_token is not None:
            return Token(credentials.app_token)
        flow = renewal(credentials, self._refresh_token)
        request, authorization = next(flow)
        while True:
            await permit()
            raw = await self._request(request, authorization)
            try:
                request, authorization = flow.send(TokenReply(raw.body, _read(raw)))
            except StopIteration as done:
                token: Token = done.value
                self._refresh_token = token.refresh
                return token
            self._refresh_token = None  # refused: the next fetch begins with the password

    async def _request(self, written: HttpRequest, authorization: str) -> RawReply:
        began = time.monotonic()
        ended: RequestEnd = "cancelled"
        seconds_max = self._timeout_seconds if written.file is None else self._upload_seconds
        try:
            async with asyncio.timeout(seconds_max):
                raw = await self._client.exchange(written, authorization)
        except TimeoutError:
            ended = "timeout"
            raise _NoAnswerError(f"No answer within {seconds_max:g} s.") from None
        except Exception:
            ended = "connection"
            raise
        else:
            ended = status_class(raw.status)
            return raw
        finally:
            self._observer.note(_ended(written, ended, time.monotonic() - began))


def _fault_of(error: Exception) -> CallFault:
    """Return the fault of a request without an answer, with a message for the outcome."""
    match error:
        case RefusedError():
            message = f"The PIM refuses the credentials: {error}"
            return CallFault(FaultKind.CREDENTIALS, message)
        case SettingsError():
            return CallFault(FaultKind.CREDENTIALS, f"The credentials cannot be read: {error}")
        case FileLostError():
            return CallFault(FaultKind.FILE_LOST, str(error))
        case _NoAnswerError():
            return CallFault(FaultKind.TIMEOUT, str(error))
        case TooLargeError():
            message = f"The answer has more than {REPLY_BYTES_MAX} bytes."
            return CallFault(FaultKind.CONNECTION, message)
        case _:
            return CallFault(FaultKind.CONNECTION, in_words(error))


def _ended(written: HttpRequest, ended: RequestEnd, seconds: float) -> RequestEnded:
    return RequestEnded(
        route=written.route,
        method=written.method,
        path=written.path,
        ended=ended,
        seconds=round(seconds, 4),
    )


def _without_token(reply: CallReply) -> Answer:
    """Return the answer of a call for which the PIM gave no token.

    A 429 or 5xx holds for the call too. Any other status, such as 404 or 413, is about the token's
    request and must not be read as a verdict on the call's assets.
    """
    if reply.status == 429 or reply.status >= 500:
        return reply
    return CallFault(FaultKind.CONNECTION, f"The PIM gave no token, but HTTP {reply.status}.")


def _read(raw: RawReply) -> CallReply:
    return read_reply(raw.status, raw.headers, raw.body)
