"""A family of a real PIM in which questions may be asked by writing: what they need, and clean-up.

Rule 1: every code that is written begins with `CODE_PREFIX` and is deleted at the end, also where a
question failed or the command was interrupted.
Rule 2: one request at a time, at most `CALLS_PER_SECOND` of them, because the PIM has other users.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.http_client import RawReply, read_retry_after
from service.contracts.json_flaw import UNREADABLE
from service.core.inputs import CallFault
from service.ports import FAMILIES_PATH

CODE_PREFIX = "asset_sync_check_"
CALLS_PER_SECOND = 20
THROTTLED_MAX = 5
"""How often one request is sent again after a 429."""
RETRY_SECONDS = 2.0
"""The wait after a 429 that does not say how long to wait."""

Json = Any


class NotAskedError(Exception):
    """A question cannot be asked in this family; the message says what is missing."""


class NoAnswerError(Exception):
    """The PIM did not answer a request; the message says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The PIM's answer, with its JSON; None if the body is not JSON."""

    status: int
    body: Json

    @property
    def item_statuses(self) -> list[object]:
        """The statuses of the items of a bulk answer; empty if it is none."""
        items = self.body if isinstance(self.body, list) else []
        return [item.get("status_code") if isinstance(item, dict) else None for item in items]

    @property
    def in_short(self) -> str:
        """The statuses of the items where the call succeeded, else that of the call."""
        if self.status != 200 or not self.item_statuses:
            return str(self.status)
        return ", ".join(map(str, self.item_statuses))


@dataclass(slots=True)
class Sandbox:
    """The family that questions are asked in."""

    api: HttpAssetApi
    family: str
    attributes: tuple[Mapping[str, Json], ...] = ()
    """As the PIM shows them; `open` reads them."""
    calls_per_second: float = CALLS_PER_SECOND
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    written: dict[str, None] = field(default_factory=dict)
    """Codes that may exist now, in the order in which they were sent."""

    async def open(self) -> None:
        """Read the attributes of the family.

        Raises:
            NoAnswerError: the PIM does not answer, or has no such family.
        """
        reply = await self.call("GET", f"{self.path}/attributes")
        if reply.status != 200 or not isinstance(reply.body, list):
            raise NoAnswerError(f"The attributes of {self.family} were answered {reply.status}.")
        self.attributes = tuple(one for one in reply.body if isinstance(one, dict))

    @property
    def path(self) -> str:
        """The path of the family."""
        return f"{FAMILIES_PATH}/{quote(self.family, safe='')}"

    def code(self, name: str) -> str:
        """Return the code of an asset that belongs to this run; it will be deleted."""
        made = f"{CODE_PREFIX}{self.run}_{name}"
        self.written[made] = None
        return made

    def attribute(self, *types: str) -> Mapping[str, Json]:
        """Return an attribute of one of these types that has one value, for any locale and channel.

        Raises:
            NotAskedError: the family has none.
        """
        for one in self.attributes:
            is_plain = not one.get("value_per_locale") and not one.get("value_per_channel")
            if one.get("type") in types and is_plain and isinstance(one.get("code"), str):
                return one
        raise NotAskedError(f"the family has no {' or '.join(types)} attribute without locales")

    async def upsert(self, *items: Json) -> Reply:
        """Send assets in one bulk call."""
        return await self.call("PATCH", f"{self.path}/assets", list(items))

    async def get(self, code: str) -> Reply:
        return await self.call("GET", self.asset(code))

    async def delete(self, code: str) -> Reply:
        return await self.call("DELETE", self.asset(code))

    def asset(self, code: str) -> str:
        """Return the path of an asset."""
        return f"{self.path}/assets/{quote(code, safe='')}"

    async def call(self, method: str, path: str, body: Json = None) -> Reply:
        """Send one request, and again while the PIM throttles.

        Raises:
            NoAnswerError: there is no answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        for _ in range(THROTTLED_MAX):
            await asyncio.sleep(1 / self.calls_per_second)
            raw = await self.api.ask(method, path, content)
            if isinstance(raw, CallFault):
                raise NoAnswerError(raw.message)
            if raw.status != 429:
                return Reply(raw.status, _json(raw))
            await asyncio.sleep(read_retry_after(raw.headers.get("retry-after")) or RETRY_SECONDS)
        raise NoAnswerError(f"The PIM throttles: {THROTTLED_MAX} times 429.")

    async def clean_up(self) -> list[str]:
        """Delete what was written; return the codes that may be left."""
        left = []
        for code in self.written:
            try:
                is_gone = (await self.delete(code)).status in {204, 404}
            except NoAnswerError:
                is_gone = False
            if not is_gone:
                left.append(code)
        return left


def values(attribute: Mapping[str, Json], data: Json) -> dict[str, Json]:
    """Return values with one entry of this attribute."""
    return {attribute["code"]: [{"locale": None, "channel": None, "data": data}]}


def _json(raw: RawReply) -> Json:
    try:
        return msgspec.json.decode(raw.body)
    except UNREADABLE:
        return None
