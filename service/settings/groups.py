"""What can be set: a group a neighbour or a part, each field with its meaning and its limits."""

import re
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

_SIZE = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*", re.IGNORECASE)
_UNITS = {
    "": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3,
}  # fmt: skip

_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _parse_size(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("give bytes, or a number with KiB, MiB or GiB, such as 128MiB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _parse_names(text: object) -> object:
    if isinstance(text, str):
        return tuple(name for part in text.split(",") if (name := part.strip()))
    return text


def _check_servers(text: str) -> str:
    for server in text.split(","):
        found = _SERVER.fullmatch(server.strip())
        if found is None or not 0 < int(found[1] or 9092) < 2**16:
            raise ValueError(
                "must be HOST:PORT, comma separated, such as kafka-1:9092,kafka-2:9092"
            )
    return text


def _check_topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError("a topic's name is of letters, digits, '.', '_' and '-', at most 249")
    return name


def _check_topics(text: str) -> str:
    for name in text.split(","):
        _check_topic(name.strip())
    return text


IDENTIFIER_BYTES_MAX = 255
"""Of what names this client to Kafka; the outcomes' default source has the group's in it."""


def _check_identifier(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have no control characters")
    if (size := len(text.encode())) > IDENTIFIER_BYTES_MAX:
        raise ValueError(f"must have at most {IDENTIFIER_BYTES_MAX} characters (has {size})")
    return text


SOURCE_CHARACTERS_MAX = 1000
"""Of the outcomes' source: each outcome has it twice, and is bounded."""


def _check_source(text: str) -> str:
    if not is_visible_ascii(text):
        raise ValueError("must be a URI or a path, without spaces")
    if len(text) > SOURCE_CHARACTERS_MAX:
        raise ValueError(f"must have at most {SOURCE_CHARACTERS_MAX} characters")
    return text


def _check_endpoint(url: str) -> str:
    if _parts_of(url) is None:
        raise ValueError("must be a URL such as http://collector:4318/v1/traces")
    return url


Size = Annotated[int, BeforeValidator(_parse_size)]
_Text = Annotated[str, Field(min_length=1)]
_Servers = Annotated[_Text, AfterValidator(_check_servers)]
_Identifier = Annotated[_Text, AfterValidator(_check_identifier)]
_Topic = Annotated[_Text, AfterValidator(_check_topic)]
_Topics = Annotated[_Text, AfterValidator(_check_topics)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Group):
    """The broker, the group and the topics."""

    bootstrap_servers: _Servers = Field("localhost:9092", description="Comma separated.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to connect."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="With SASL_*."
    )
    sasl_username: str | None = Field(None, description="With SASL_*.")
    sasl_password: SecretStr | None = Field(None, description="With SASL_*.")
    ssl_ca_file: Path | None = Field(None, description="A private CA.")
    ssl_cert_file: Path | None = Field(None, description="The client's certificate.")
    ssl_key_file: Path | None = Field(None, description="The client's key.")
    ssl_key_password: SecretStr | None = Field(None, description="Of the client's key.")
    client_id: _Identifier = Field("asset-sync", description="Shown in the broker's logs.")
    group_id: _Identifier = Field(
        "asset-sync",
        description="Consumer group; transactional ids are GROUP_ID. + a suffix. "
        "One group, one deployment, one PIM connection. At most 255 characters.",
    )
    group_instance_id: _Identifier | None = Field(
        None, description="Static membership; StatefulSet only, unique per replica."
    )
    session_timeout_seconds: float = Field(10, ge=1, le=300, description="Of the group.")
    events_topics: _Topics = Field("dam.asset-changes", description="Comma separated.")
    outcomes_topic: _Topic = Field("pim.asset-outcomes", description="One outcome a change.")
    dead_letters_topic: _Topic = Field(
        "pim.asset-dead-letters", description="Records that were rejected or failed."
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest",
        description="Where a consumer group begins that has no position at all: at the earliest "
        "records, or at the end. A partition without a position in a group that has some is "
        "always read from its earliest record.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none",
        description="Compression of the records that asset-sync writes. Every client can read "
        "none; whoever reads the topics must have the codec of anything else installed.",
    )
    max_record_bytes: Size = Field(
        1024**2, ge=1024, description="Key, value and headers; a larger input is too_large."
    )

    @property
    def events_topic_names(self) -> tuple[str, ...]:
        """The events topics, each once."""
        names = _parse_names(self.events_topics)
        assert isinstance(names, tuple)
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        topics = [*self.events_topic_names, self.outcomes_topic, self.dead_letters_topic]
        if len(set(topics)) < len(topics):
            raise ValueError("events, outcomes and dead letters need topics of their own")
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_mechanism and self.sasl_username and self.sasl_password
        ):
            raise ValueError(
                f"{self.security_protocol} needs SASL_MECHANISM, SASL_USERNAME and SASL_PASSWORD"
            )
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ValueError("SSL_CERT_FILE and SSL_KEY_FILE go together")
        return self


class OutcomesSettings(_Group):
    """What outcomes say of this deployment."""

    source: Annotated[str, AfterValidator(_check_source)] | None = Field(
        None, description="CloudEvents source of the outcomes; default /asset-sync/GROUP_ID."
    )


class EventsSettings(_Group):
    """Which events are ours."""

    type_prefix: str = Field("", description="Narrows which event types are ours.")


class PimSettings(_Group):
    """The PIM and our connection to it."""

    base_url: _Text = Field(
        description="URL of the PIM without the path of its API, such as "
        "https://example.cloud.akeneo.com; plain http only to loopback."
    )
    client_id: str | None = Field(None, description="Of the connection.")
    client_secret: SecretStr | None = Field(None, description="Of the connection.")
    username: str | None = Field(None, description="Of the connection.")
    password: SecretStr | None = Field(None, description="Of the connection.")
    app_token: SecretStr | None = Field(None, description="Instead of the four above.")
    ca_file: Path | None = Field(None, description="A private CA.")
    ssl_cert_file: Path | None = Field(
        None, description="A client certificate (PEM) for a PIM that asks for one."
    )
    ssl_key_file: Path | None = Field(None, description="The key of this certificate (PEM).")
    proxy_url: SecretStr | None = Field(
        None, description="A proxy to the PIM, such as http://user:password@proxy.example:3128."
    )
    allow_http: bool = Field(
        default=False, description="Plain http to other hosts, at your own risk."
    )
    max_concurrency: int = Field(
        4, ge=1, le=100, description="Calls at once of the whole deployment."
    )
    max_calls_per_second: int = Field(
        50, ge=1, le=1_000_000, description="Of the whole deployment."
    )
    timeout_seconds: float = Field(60, gt=0, le=600, description="One call.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_url(self.base_url, allow_http=self.allow_http)
        if self.proxy_url is not None:
            _check_proxy(self.proxy_url.get_secret_value())
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ValueError("SSL_CERT_FILE and SSL_KEY_FILE go together")
        connection = {
            "CLIENT_ID": self.client_id,
            "CLIENT_SECRET": self.client_secret,
            "USERNAME": self.username,
            "PASSWORD": self.password,
        }
        given = [name for name, value in connection.items() if value]
        missing = [name for name, value in connection.items() if not value]
        if self.app_token and not is_visible_ascii(self.app_token.get_secret_value()):
            raise ValueError("APP_TOKEN must be visible ASCII: no spaces, no second line")
        if self.app_token and given:
            raise ValueError(f"APP_TOKEN stands alone; leave out {', '.join(given)}")
        if not self.app_token and missing:
            raise ValueError(f"{', '.join(missing)} missing (or give APP_TOKEN alone)")
        return self


class StructureSettings(_Group):
    """What is done with the PIM's families, attributes and options."""

    validate_values: bool = Field(
        default=True, alias="validate", description="Reject early what the PIM would refuse."
    )
    create_options: bool = Field(default=False, description="Create options that the PIM lacks.")
    default_locale: str | None = Field(
        None, description="Of a bare value for an attribute that differs by locale."
    )
    max_age_seconds: float = Field(600, ge=1, le=86_400, description="Then they are read anew.")


class WindowSettings(_Group):
    """When a family's window is due."""

    max_seconds: float = Field(2, ge=0, le=3600, description="After its first change.")
    max_assets: int = Field(100, ge=1, le=100, description="Distinct assets, deletes included.")
    max_bytes: Size = Field(4 * 1024**2, ge=1024, description="Of JSON.")


class RetrySettings(_Group):
    """Budget of an asset's call for failures that are its own."""

    max_attempts: int = Field(8, ge=1, le=1000, description="Own failures alone.")
    max_seconds: float = Field(300, ge=0, le=86_400, description="From the first of them.")


class PipelineSettings(_Group):
    """What may be held, and how often it is committed."""

    max_pending_changes: int = Field(
        10_000, ge=1, le=1_000_000, description="Admitted and not yet committed; intake pauses."
    )
    max_pending_bytes: Size = Field(
        128 * 1024**2,
        ge=1024,
        description="Intake pauses at this many bytes of key, value and headers, admitted and "
        "not yet committed, or where they take twice as much in memory. A replica needs twice this "
        "much memory, and more: docs/operations.md, Memory.",
    )
    commit_interval_seconds: float = Field(
        0.1, ge=0, le=10, description="A transaction at most this often."
    )


class DeadLettersSettings(_Group):
    """When to stop dead-lettering and let a person look."""

    max_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Of the last 1,000 changes, over two families; then intake pauses. 1: never.",
    )


class TracesSettings(_Group):
    """OpenTelemetry traces (needs the extra `otel`)."""

    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        None, description="OTLP over HTTP, such as http://collector:4318/v1/traces; none: off."
    )
    sample_ratio: float = Field(
        1, ge=0, le=1, description="Of the events whose producer did not decide."
    )


class DrainSettings(_Group):
    """How a replica ends."""

    max_seconds: float = Field(
        75, gt=0, le=3600, description="Budget of a drain, then what is in flight is cut."
    )


class HttpSettings(_Group):
    """Probes and metrics."""

    host: str = Field("0.0.0.0", description="Where to listen.")  # noqa: S104 - a pod's port
    port: int = Field(8080, ge=0, le=65_535, description="0 takes a free one and prints it.")
    status_page: bool = Field(
        default=False, description="A page for the operator at /: what is open, last outcomes."
    )


class LogSettings(_Group):
    """Logs."""

    format: Literal["json", "console"] | None = Field(
        None, description="Default json, console on a terminal."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="From here on.")

    @model_validator(mode="before")
    @classmethod
    def _fold_case(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the source had
        if isinstance(given, dict):
            return {k: v.lower() if isinstance(v, str) else v for k, v in given.items()}
        return given


def _parts_of(url: str) -> SplitResult | None:
    """Of an http or https URL with a host; None where it is none."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return parts if is_url and url.isprintable() and " " not in url else None


def _check_proxy(url: str) -> None:
    parts = _parts_of(url)
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "PROXY_URL must be a URL such as http://user:password@proxy.example:3128, "
            "of a proxy that speaks http or https"
        )


def _check_url(url: str, *, allow_http: bool) -> None:
    parts = _parts_of(url)
    if parts is None or parts.hostname is None:
        raise ValueError("BASE_URL must be a URL such as https://example.cloud.akeneo.com")
    if parts.username is not None or "?" in url or "#" in url or _has_api_path(parts.path):
        raise ValueError(
            "BASE_URL must name the PIM alone, without user, API path, query or fragment: "
            f"write {_without_extras(parts)}"
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ValueError(
            "BASE_URL is plain http to another host: use https, or set PIM__ALLOW_HTTP=true"
        )


def _segments(path: str) -> list[str]:
    return [segment for segment in unquote(path).split("/") if segment]


def _has_api_path(path: str) -> bool:
    """Whether the path goes into the PIM's API, which the service adds by itself."""
    return any(segment.lower() == "api" for segment in _segments(path))


def _without_extras(parts: SplitResult) -> str:
    """The URL of the PIM alone: scheme, host, port, and the path before its API."""
    kept = takewhile(lambda segment: segment.lower() != "api", _segments(parts.path))
    authority = parts.netloc.rpartition("@")[2]
    return "/".join([f"{parts.scheme}://{authority}", *map(quote, kept)])


def is_visible_ascii(text: str) -> bool:
    """Whether it can stand in a header or a URI, as every token can."""
    return text.isascii() and text.isprintable() and " " not in text and bool(text)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
