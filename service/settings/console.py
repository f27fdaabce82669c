"""The settings of the console: its pages, its index, and whom and where it links to."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from service.console.links import flaw_of_template
from service.settings.addresses import is_server
from service.settings.sections import HTTP_PORT, Group, Host, Size

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def _check_template(template: str) -> str:
    if (flaw := flaw_of_template(template)) is not None:
        raise ValueError(flaw)
    return template


def _check_header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of an HTTP header, such as X-Auth-Request-Email")
    return name


def _check_replicas(text: str) -> str:
    if not all(is_server(place.strip()) for place in text.split(",")):
        raise ValueError("must be HOST:PORT, comma separated, such as asset-sync-headless:8080")
    return text


_Template = Annotated[str, AfterValidator(_check_template)]


class ConsoleSettings(Group):
    """Settings of the program whose pages say what became of an asset."""

    host: Host = Field(
        "0.0.0.0",  # noqa: S104 - a proxy reaches it from other hosts
        description="Address to listen on for the pages of the console; `::` is every address, by "
        "IPv6 and by IPv4.",
    )
    port: int = Field(
        8082,
        ge=0,
        le=65_535,
        description="Port to listen on for the pages of the console; health checks and metrics "
        "stay on HTTP__PORT. With 0, a free port is chosen and logged.",
    )
    dir: Path | None = Field(
        None,
        description="Directory for the console's index of outcomes, which `asset-sync console` "
        "requires. If it is lost, the index is built again from Kafka.",
    )
    max_bytes: Size = Field(
        2 * 1024**3,
        ge=256 * 1024**2,
        description="Most bytes of the index. The oldest outcomes are dropped first. An outcome "
        "takes about 0.5 KiB.",
    )
    days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Days for which outcomes can be found. Older ones are dropped.",
    )
    replicas: Annotated[str, AfterValidator(_check_replicas)] | None = Field(
        None,
        description="Replicas of `asset-sync run` to ask what is waiting now, HOST:PORT, separated "
        "by commas. A name is resolved each time and stands for all its addresses, as that of a "
        "headless Service. They need HTTP__STATUS_PAGE=true.",
    )
    user_header: Annotated[str, AfterValidator(_check_header)] | None = Field(
        None,
        description="Header by which the proxy before the console says who reads. A request "
        "without it is answered with 403. Without this setting, anybody who reaches the port may "
        "read.",
    )
    dam_link: _Template | None = Field(
        None,
        description="Link from an asset to the DAM, such as "
        "https://dam.example/assets/{context.dam_id}. {code}, {family} and {context.KEY} are "
        "replaced.",
    )
    pim_link: _Template | None = Field(
        None, description="Link from an asset to the PIM, with the same placeholders."
    )

    @property
    def replica_places(self) -> tuple[tuple[str, int], ...]:
        """The host and the port of each entry of `replicas`."""
        return tuple(_place(text.strip()) for text in (self.replicas or "").split(",") if text)


def _place(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or HTTP_PORT
