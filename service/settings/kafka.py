"""The settings of Kafka: brokers, login, consumer group and topics."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from service.settings.addresses import is_plain_http_elsewhere, is_server, url_parts
from service.settings.sections import Group, Size, Text, Topic, check_topic, parse_names

_EXTENSION = re.compile(r"[A-Za-z]+=[\x21-\x7e]+")
"""Name and value of an extension (RFC 7628, 3.1), without a space."""


def _check_servers(text: str) -> str:
    if not all(is_server(server.strip()) for server in text.split(",")):
        raise ValueError("must be HOST:PORT, comma separated, such as kafka-1:9092,kafka-2:9092")
    return text


def _check_topics(text: str) -> str:
    for name in text.split(","):
        check_topic(name.strip())
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


def _parse_extensions(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name: value for name, _, value in pairs if name}


def _check_extensions(text: str) -> str:
    parts = text.split(",")
    extensions = _parse_extensions(text)
    if not all(map(_EXTENSION.fullmatch, parts)) or len(extensions) < len(parts):
        raise ValueError("must be NAME=VALUE, separated by commas, each name in letters and once")
    if "auth" in extensions:
        raise ValueError("auth is no extension: it carries the token")
    return text


def _check_token_url(url: str) -> str:
    parts = url_parts(url)
    if parts is None or parts.username is not None:
        raise ValueError("must be a URL such as https://login.example/token, without a user")
    if is_plain_http_elsewhere(parts):
        raise ValueError("is plain http to another host: use https")
    return url


_Servers = Annotated[Text, AfterValidator(_check_servers)]
_Identifier = Annotated[Text, AfterValidator(_check_identifier)]
_Topics = Annotated[Text, AfterValidator(_check_topics)]


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
    sasl_scope: Text | None = Field(
        None, description="Scope of the tokens for OAUTHBEARER, if the token URL asks for one."
    )
    sasl_extensions: Annotated[str, AfterValidator(_check_extensions)] | None = Field(
        None,
        description="Extensions of the login with OAUTHBEARER, NAME=VALUE, separated by commas, "
        "such as the logicalCluster and identityPoolId of Confluent Cloud.",
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
    outcomes_topic: Topic = Field(
        "pim.asset-outcomes", description="Topic to which one outcome is written for each change."
    )
    dead_letters_topic: Topic = Field(
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
        names = parse_names(self.events_topics)
        assert isinstance(names, tuple)
        return tuple(dict.fromkeys(names))

    @property
    def sasl_extension_values(self) -> dict[str, str]:
        """The extensions of the login with tokens, by name."""
        return _parse_extensions(self.sasl_extensions or "")

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
        if not self.sasl_token_url and (self.sasl_scope or self.sasl_extensions):
            raise ValueError("SASL_SCOPE and SASL_EXTENSIONS are of use with OAUTHBEARER alone")
        if bool(self.ssl_cert_file) != bool(self.ssl_key_file):
            raise ValueError("set both SSL_CERT_FILE and SSL_KEY_FILE, or neither")
        return self
