"""The settings in groups, each field with its default, its limits and a description for users."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, quote, unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from service.contracts.sizes import parse_size
from service.settings.addresses import is_host, is_plain_http_elsewhere, url_parts

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def parse_names(text: object) -> object:
    """Return the names in a text that separates them by commas; anything else as it is."""
    if isinstance(text, str):
        return tuple(name for part in text.split(",") if (name := part.strip()))
    return text


def _check_host(name: str) -> str:
    if not is_host(name):
        raise ValueError("must be an IP address of this machine, or a host name")
    return name


def check_topic(name: str) -> str:
    """Return the name of a topic.

    Raises:
        ValueError: Kafka does not allow this name.
    """
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError(
            "a topic name has 1 to 249 letters, digits, '.', '_' or '-', and is not '.' or '..'"
        )
    return name


SOURCE_CHARACTERS_MAX = 1000
"""Longest `source`: each outcome carries it twice, and an outcome may not exceed 64 KiB."""


def _check_source(text: str) -> str:
    if not is_visible_ascii(text):
        raise ValueError("must be a URI or a path, without spaces")
    if len(text) > SOURCE_CHARACTERS_MAX:
        raise ValueError(f"must have at most {SOURCE_CHARACTERS_MAX} characters")
    return text


def _check_endpoint(url: str) -> str:
    if url_parts(url) is None:
        raise ValueError("must be a URL such as http://collector:4318/v1/traces")
    return url


Size = Annotated[int, BeforeValidator(parse_size)]
Host = Annotated[str, AfterValidator(_check_host)]
Text = Annotated[str, Field(min_length=1)]
Topic = Annotated[Text, AfterValidator(check_topic)]


class Group(BaseModel):
    """Settings of one section: they never change, and an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutcomesSettings(Group):
    """Settings of the outcomes that this deployment writes."""

    source: Annotated[str, AfterValidator(_check_source)] | None = Field(
        None,
        description="CloudEvents source of the outcomes, a URI or a path. Give each environment "
        "its own. Default: /asset-sync/GROUP_ID.",
    )


class EventsSettings(Group):
    """Settings that select the events to handle."""

    type_prefix: str = Field(
        "",
        description="Handle only CloudEvents whose type begins with this text. The others end "
        "skipped as unknown_type.",
    )


class PimSettings(Group):
    """Settings of the PIM: its address, the credentials and the limits on calling it."""

    base_url: Text = Field(
        description="URL of the PIM without the path of its API, such as "
        "https://example.cloud.akeneo.com. Plain http is accepted for loopback only, unless "
        "PIM__ALLOW_HTTP is set."
    )
    client_id: str | None = Field(None, description="Client id of the Akeneo connection.")
    client_secret: SecretStr | None = Field(None, description="Secret of the Akeneo connection.")
    username: str | None = Field(None, description="User name of the Akeneo connection.")
    password: SecretStr | None = Field(None, description="Password of the Akeneo connection.")
    app_token: SecretStr | None = Field(
        None,
        description="Access token of an Akeneo app. Set it instead of PIM__CLIENT_ID, "
        "PIM__CLIENT_SECRET, PIM__USERNAME and PIM__PASSWORD.",
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file with the certificate of a private CA that signed the certificate of "
        "the PIM or the proxy. It is trusted in addition to the CAs of the system.",
    )
    ssl_cert_file: Path | None = Field(
        None, description="PEM file with the client certificate for a PIM that asks for one."
    )
    ssl_key_file: Path | None = Field(
        None, description="PEM file with the private key of the client certificate for the PIM."
    )
    proxy_url: SecretStr | None = Field(
        None,
        description="URL of an HTTP proxy for requests to the PIM, such as "
        "http://user:password@proxy.example:3128. Proxy variables of the environment are ignored.",
    )
    allow_http: bool = Field(
        default=False,
        description="Accept plain http for a PIM on another host. Credentials and values are then "
        "readable on the network.",
    )
    max_concurrency: int = Field(
        4,
        ge=1,
        le=100,
        description="Most calls to the PIM at the same time, over all replicas. Akeneo allows 4 "
        "for each connection and answers 429 above that.",
    )
    max_calls_per_second: int = Field(
        50,
        ge=1,
        le=1_000_000,
        description="Most requests to the PIM in a second, over all replicas. Akeneo allows 100 "
        "for all its clients together and answers 429 above that.",
    )
    timeout_seconds: float = Field(
        60,
        gt=0,
        le=600,
        description="Timeout of one HTTP request to the PIM, in seconds. A lower value retries "
        "sooner, but the PIM may still be working on the first request.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_url(self.base_url, allow_http=self.allow_http)
        if self.proxy_url is not None:
            _check_proxy(self.proxy_url.get_secret_value())
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ValueError("set both SSL_CERT_FILE and SSL_KEY_FILE, or neither")
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
            raise ValueError(
                f"set either APP_TOKEN or the connection; leave out {', '.join(given)}"
            )
        if not self.app_token and missing:
            raise ValueError(f"set {', '.join(missing)} as well, or only APP_TOKEN")
        return self


class StructureSettings(Group):
    """Settings that say how the PIM's families, attributes and options are used."""

    validate_values: bool = Field(
        default=True,
        alias="validate",
        description="Check values against the PIM's attributes and options before they are sent, "
        "and reject a change that the PIM would refuse.",
    )
    create_options: bool = Field(
        default=False,
        description="Create an option in the PIM when a value names one that does not exist yet, "
        "at most 3 a second.",
    )
    default_locale: str | None = Field(
        None,
        description="Locale, such as en_US, for a value that names none although its attribute "
        "has a value for each locale.",
    )
    max_age_seconds: float = Field(
        600,
        ge=1,
        le=86_400,
        description="Re-read a family's attributes and options after this many seconds. A higher "
        "value saves requests, but changes made in the PIM are noticed later.",
    )


class WindowSettings(Group):
    """Settings that say when the changes in a family's window are sent."""

    max_seconds: float = Field(
        2,
        ge=0,
        le=3600,
        description="Send a family's batch this many seconds after its first change, full or not. "
        "A higher value makes larger batches and longer delays.",
    )
    max_assets: int = Field(
        100,
        ge=1,
        le=100,
        description="Send a family's batch as soon as it has changes of this many assets. The PIM "
        "takes at most 100 in a call.",
    )
    max_bytes: Size = Field(
        4 * 1024**2,
        ge=1024,
        description="Send a family's batch as soon as its values take this many bytes of JSON. A "
        "higher value makes larger requests and needs more memory.",
    )


class RetrySettings(Group):
    """Settings that limit the retries of a failing asset."""

    max_attempts: int = Field(
        8,
        ge=1,
        le=1000,
        description="Calls to try for a failing asset before its change ends as failed. Outages "
        "of the PIM and throttling do not count.",
    )
    max_seconds: float = Field(
        300,
        ge=0,
        le=86_400,
        description="Seconds to retry a failing asset or family before its changes end as failed. "
        "Time during outages of the PIM and throttling does not count.",
    )


class PipelineSettings(Group):
    """Settings that limit pending changes and the frequency of commits."""

    max_pending_changes: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Intake pauses when this many changes are pending (admitted, outcome not yet "
        "committed), and resumes at half. A higher value needs more memory.",
    )
    max_pending_bytes: Size = Field(
        128 * 1024**2,
        ge=1024,
        description="Intake pauses when the pending changes have this many bytes of key, value "
        "and headers, or take twice as many bytes of memory, and resumes at half. A replica needs "
        "more than twice this much memory: docs/operations.md, Memory.",
    )
    commit_interval_seconds: float = Field(
        0.1,
        ge=0,
        le=10,
        description="Shortest time between two Kafka transactions, in seconds. A higher value "
        "makes fewer and larger transactions, and outcomes appear later. While half of "
        "PIPELINE__MAX_PENDING_CHANGES are pending, `run` waits up to half a second for more "
        "outcomes.",
    )


class DeadLettersSettings(Group):
    """Settings of the limit at which the service stops dead-lettering until an operator looks."""

    max_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Intake stops when more than this share of the last 1,000 changes, over at "
        "least two families, would be dead-lettered. `asset-sync release` resumes it. 1 turns this "
        "limit off.",
    )


class TracesSettings(Group):
    """Settings of OpenTelemetry traces, which need the extra `otel`."""

    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        None,
        description="URL of an OpenTelemetry collector (OTLP over HTTP), such as "
        "http://collector:4318/v1/traces. Without it, traces are off.",
    )
    sample_ratio: float = Field(
        1,
        ge=0,
        le=1,
        description="Share of the events to trace, from 0 to 1. It applies only to events whose "
        "producer sent no sampling decision.",
    )


class TranslateSettings(Group):
    """Settings of the program that translates the events of DAMs."""

    topic: Topic | None = Field(
        None,
        description="Topic that translate writes changes to. Default: the first of "
        "KAFKA__EVENTS_TOPICS.",
    )
    sources: str | None = Field(
        None,
        description="Names of the sources to translate here, separated by commas. Default: all of "
        "the file.",
    )

    @property
    def source_names(self) -> tuple[str, ...] | None:
        """The names of the sources without duplicates; None means all."""
        names = parse_names(self.sources)
        return tuple(dict.fromkeys(names)) if isinstance(names, tuple) else None


INGRESS_OVERHEAD_BYTES = 32 * 1024
"""Room in a record for the headers and the key that ingress adds to a body."""


class IngressSettings(Group):
    """Settings of the program that receives the webhooks of DAMs."""

    host: Host = Field(
        "0.0.0.0",  # noqa: S104 - the DAMs reach it from other hosts
        description="Address to listen on for webhooks; `::` is every address, by IPv6 and by "
        "IPv4.",
    )
    port: int = Field(
        8081,
        ge=0,
        le=65_535,
        description="Port to listen on for webhooks; health checks and metrics stay on HTTP__PORT. "
        "With 0, a free port is chosen and logged.",
    )
    max_body_bytes: Size | None = Field(
        None,
        ge=1,
        description="Largest body of a webhook in bytes; a larger one is answered with 413. "
        "Default: KAFKA__MAX_RECORD_BYTES less 32 KiB, so that nothing that is accepted is too "
        "large for a record. A higher value needs more memory.",
    )
    max_in_flight: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Most webhooks that wait for Kafka at the same time; further ones are answered "
        "with 503. A higher value needs more memory.",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="PEM file with the certificate chain for HTTPS. Without it, ingress serves "
        "plain HTTP, and TLS has to end before it.",
    )
    tls_key_file: Path | None = Field(
        None, description="PEM file with the private key of the certificate for HTTPS."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("set both TLS_CERT_FILE and TLS_KEY_FILE, or neither")
        return self


class DrainSettings(Group):
    """Settings that limit how long a replica takes to stop."""

    max_seconds: float = Field(
        75,
        gt=0,
        le=3600,
        description="Seconds to finish open work after SIGTERM or when partitions are given back. "
        "Then calls in flight are cancelled, and the next owner repeats them. A value below "
        "PIM__TIMEOUT_SECONDS cancels calls that the PIM may still apply.",
    )


HTTP_PORT = 8080
"""The port of health checks, metrics and pages, unless the settings say another one."""


class HttpSettings(Group):
    """Settings of the HTTP port for health checks, metrics and pages."""

    host: Host = Field(
        "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus reach a pod from other hosts
        description="Address to listen on for health checks, metrics and the status page; `::` is "
        "every address, by IPv6 and by IPv4.",
    )
    port: int = Field(
        HTTP_PORT,
        ge=0,
        le=65_535,
        description="Port to listen on for health checks, metrics and the status page. With 0, a "
        "free port is chosen and logged.",
    )
    status_page: bool = Field(
        default=False,
        description="Serve a status page at /, with the open work and the recent outcomes; in "
        "translate with its sources and their hosts, in ingress with its webhooks.",
    )


class LogSettings(Group):
    """Settings of the format and the level of the log."""

    format: Literal["json", "console"] | None = Field(
        None,
        description="Log format. Default: console when the output is a terminal, otherwise json.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Least severe level to log. Only debug logs each request and the messages of "
        "outcomes, which may quote values.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_case(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic passes any input
        if isinstance(given, dict):
            return {k: v.lower() if isinstance(v, str) else v for k, v in given.items()}
        return given


def _check_proxy(url: str) -> None:
    parts = url_parts(url)
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "PROXY_URL must be the URL of an HTTP proxy, such as "
            "http://user:password@proxy.example:3128"
        )


def _check_url(url: str, *, allow_http: bool) -> None:
    parts = url_parts(url)
    if parts is None:
        raise ValueError("BASE_URL must be a URL such as https://example.cloud.akeneo.com")
    if parts.username is not None or "?" in url or "#" in url or _has_api_path(parts.path):
        raise ValueError(
            "BASE_URL must name the PIM alone, without user, API path, query or fragment: "
            f"write {_without_extras(parts)}"
        )
    if is_plain_http_elsewhere(parts) and not allow_http:
        raise ValueError(
            "BASE_URL is plain http to another host: use https, or set PIM__ALLOW_HTTP=true"
        )


def _segments(path: str) -> list[str]:
    return [segment for segment in unquote(path).split("/") if segment]


def _has_api_path(path: str) -> bool:
    """Return whether the path contains the API's path, which the service adds by itself."""
    return any(segment.lower() == "api" for segment in _segments(path))


def _without_extras(parts: SplitResult) -> str:
    """Return scheme, host, port and the path before the API, without everything else."""
    kept = takewhile(lambda segment: segment.lower() != "api", _segments(parts.path))
    authority = parts.netloc.rpartition("@")[2]
    return "/".join([f"{parts.scheme}://{authority}", *map(quote, kept)])


def is_visible_ascii(text: str) -> bool:
    """Return whether the text can be sent in a header or a URI, as every token can."""
    return text.isascii() and text.isprintable() and " " not in text and bool(text)
