"""The settings in groups, each field with its default, its limits and a description for users."""

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

from service.contracts.sizes import parse_size
from service.settings.addresses import is_host, is_server

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _parse_names(text: object) -> object:
    if isinstance(text, str):
        return tuple(name for part in text.split(",") if (name := part.strip()))
    return text


def _check_host(name: str) -> str:
    if not is_host(name):
        raise ValueError("must be an IP address of this machine, or a host name")
    return name


def _check_servers(text: str) -> str:
    if not all(is_server(server.strip()) for server in text.split(",")):
        raise ValueError("must be HOST:PORT, comma separated, such as kafka-1:9092,kafka-2:9092")
    return text


def _check_topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError(
            "a topic name has 1 to 249 letters, digits, '.', '_' or '-', and is not '.' or '..'"
        )
    return name


def _check_topics(text: str) -> str:
    for name in text.split(","):
        _check_topic(name.strip())
    return text


IDENTIFIER_BYTES_MAX = 255
"""Longest group id, client id or group instance id, in bytes of UTF-8.

The default `source` of the outcomes contains the group id, and each outcome carries that source.
"""


def _check_identifier(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    if (size := len(text.encode())) > IDENTIFIER_BYTES_MAX:
        raise ValueError(f"must have at most {IDENTIFIER_BYTES_MAX} characters (has {size})")
    return text


SOURCE_CHARACTERS_MAX = 1000
"""Longest `source`: each outcome carries it twice, and an outcome may not exceed 64 KiB."""


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


def _check_token_url(url: str) -> str:
    parts = _parts_of(url)
    if parts is None or parts.hostname is None or parts.username is not None:
        raise ValueError("must be a URL such as https://login.example/token, without a user")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("is plain http to another host: use https")
    return url


Size = Annotated[int, BeforeValidator(parse_size)]
Host = Annotated[str, AfterValidator(_check_host)]
_Text = Annotated[str, Field(min_length=1)]
_Servers = Annotated[_Text, AfterValidator(_check_servers)]
_Identifier = Annotated[_Text, AfterValidator(_check_identifier)]
_Topic = Annotated[_Text, AfterValidator(_check_topic)]
_Topics = Annotated[_Text, AfterValidator(_check_topics)]


class Group(BaseModel):
    """Settings of one section: they never change, and an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(Group):
    """Settings of the brokers, the consumer group and the topics."""

    bootstrap_servers: _Servers = Field(
        "localhost:9092",
        description="Kafka brokers to connect to first, HOST:PORT, separated by commas.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        description="How to connect to the brokers: plain text or TLS (SSL), with or without SASL.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = (
        Field(
            None,
            description="SASL mechanism of the Kafka login. Required with SASL_PLAINTEXT or "
            "SASL_SSL.",
        )
    )
    sasl_username: str | None = Field(
        None,
        description="User name of the Kafka login, or the client id with OAUTHBEARER. Required "
        "with SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_password: SecretStr | None = Field(
        None,
        description="Password of the Kafka login, or the client secret with OAUTHBEARER. Required "
        "with SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_token_url: Annotated[str, AfterValidator(_check_token_url)] | None = Field(
        None,
        description="URL that gives tokens for OAUTHBEARER, by client credentials of OAuth 2.0. "
        "Plain http is accepted for loopback only.",
    )
    sasl_scope: _Text | None = Field(
        None, description="Scope of the tokens for OAUTHBEARER, if the token URL asks for one."
    )
    ssl_ca_file: Path | None = Field(
        None,
        description="PEM file with the certificate of a private CA that signed the brokers' "
        "certificates or that of SASL_TOKEN_URL. It is trusted in addition to the CAs of the "
        "system.",
    )
    ssl_cert_file: Path | None = Field(
        None, description="PEM file with the client certificate for brokers that ask for one."
    )
    ssl_key_file: Path | None = Field(
        None, description="PEM file with the private key of the client certificate for Kafka."
    )
    ssl_key_password: SecretStr | None = Field(
        None, description="Password of the private key in KAFKA__SSL_KEY_FILE, if it is encrypted."
    )
    client_id: _Identifier = Field(
        "asset-sync",
        description="Client id for the logs and quotas of the brokers, at most 255 characters.",
    )
    group_id: _Identifier = Field(
        "asset-sync",
        description="Consumer group id, at most 255 characters. Transactional ids are GROUP_ID "
        "with a suffix. Use one group for one deployment and one PIM connection.",
    )
    group_instance_id: _Identifier | None = Field(
        None,
        description="Static member name, unique for each replica of a StatefulSet. A replica that "
        "restarts within the session timeout keeps its partitions. Do not set it elsewhere.",
    )
    session_timeout_seconds: float = Field(
        10,
        ge=2,
        le=300,
        description="Seconds without a heartbeat after which Kafka gives a replica's partitions "
        "to the others; calls to the PIM end one second earlier. A higher value tolerates longer "
        "pauses, but after a crash the partitions wait longer. At least 2.",
    )
    events_topics: _Topics = Field(
        "dam.asset-changes", description="Topics to read events from, separated by commas."
    )
    outcomes_topic: _Topic = Field(
        "pim.asset-outcomes", description="Topic to which one outcome is written for each change."
    )
    dead_letters_topic: _Topic = Field(
        "pim.asset-dead-letters",
        description="Topic to which the records of rejected and failed changes are copied.",
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest",
        description="Where a consumer group begins that has no committed offset at all: at the "
        "earliest record of each partition, or at its end (latest). If the group has an offset on "
        "some partitions, the others are always read from their earliest record.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none",
        description="Compression of the records that asset-sync writes. Every client can read "
        "none; for the others, each reader of the topics needs the codec installed.",
    )
    max_record_bytes: Size = Field(
        1024**2,
        ge=1024,
        description="Largest event in bytes (key, value and headers together). A larger one is "
        "rejected as too_large. A higher value needs more memory.",
    )

    @property
    def events_topic_names(self) -> tuple[str, ...]:
        """The names of the events topics without duplicates, in the given order."""
        names = _parse_names(self.events_topics)
        assert isinstance(names, tuple)
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        topics = [*self.events_topic_names, self.outcomes_topic, self.dead_letters_topic]
        if len(set(topics)) < len(topics):
            raise ValueError("EVENTS_TOPICS, OUTCOMES_TOPIC and DEAD_LETTERS_TOPIC must all differ")
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_mechanism and self.sasl_username and self.sasl_password
        ):
            raise ValueError(
                f"{self.security_protocol} needs SASL_MECHANISM, SASL_USERNAME and SASL_PASSWORD"
            )
        if (self.sasl_mechanism == "OAUTHBEARER") != bool(self.sasl_token_url):
            raise ValueError("SASL_MECHANISM=OAUTHBEARER and SASL_TOKEN_URL need each other")
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ValueError("set both SSL_CERT_FILE and SSL_KEY_FILE, or neither")
        return self


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

    base_url: _Text = Field(
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

    topic: _Topic | None = Field(
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
        names = _parse_names(self.sources)
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


def _parts_of(url: str) -> SplitResult | None:
    """Return the parts of an http or https URL that names a host; None for any other text."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # for an invalid port or IPv6 address
        return None
    return parts if is_url and url.isprintable() and " " not in url else None


def _check_proxy(url: str) -> None:
    parts = _parts_of(url)
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "PROXY_URL must be the URL of an HTTP proxy, such as "
            "http://user:password@proxy.example:3128"
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


def is_loopback(host: str) -> bool:
    """Return whether the host is `localhost` or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
