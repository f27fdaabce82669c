"""Settings: the only file that reads the environment (contract §3).

Sources, strongest first: the environment, a `.env` file, mounted secret files, defaults.
An unknown `ASSET_SYNC_*` variable is an error that names the nearest known one.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service.core.decode import DecodeLimits
from service.core.rules import Rules, StructureRules

PREFIX = "ASSET_SYNC_"
SECRETS_DIR = PREFIX + "SECRETS_DIR"
UNKNOWN_VARIABLES = PREFIX + "UNKNOWN_VARIABLES"
SECRET_BYTES_MAX = 64 * 1024
PIM_CALLS_AT_ONCE = 4
"""Of one connection (akeneo.md §7)."""
PIM_CALLS_PER_SECOND = 100
"""Of all callers of one PIM together."""

_PIM_NAMES = frozenset({"client_id", "username"})
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\w+)")
_SIZE = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*", re.IGNORECASE)
_UNITS = {
    "": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3,
}  # fmt: skip


class SettingsError(Exception):
    """Settings that cannot be used; one line a problem, each naming its variable."""


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


Size = Annotated[int, BeforeValidator(_parse_size)]
_Text = Annotated[str, Field(min_length=1)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Group):
    """The broker, the group and the topics."""

    bootstrap_servers: _Text = Field("localhost:9092", description="Comma separated.")
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
    client_id: _Text = Field("asset-sync", description="Shown in the broker's logs.")
    group_id: _Text = Field(
        "asset-sync",
        description="Consumer group; transactional ids are GROUP_ID. + a suffix. "
        "One group, one deployment, one PIM connection.",
    )
    group_instance_id: str | None = Field(
        None, description="Static membership; StatefulSet only, unique per replica."
    )
    session_timeout_seconds: float = Field(10, ge=1, le=300, description="Of the group.")
    events_topics: _Text = Field("dam.asset-changes", description="Comma separated.")
    outcomes_topic: _Text = Field("pim.asset-outcomes", description="One outcome a change.")
    dead_letters_topic: _Text = Field(
        "pim.asset-dead-letters", description="Records that were rejected or failed."
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="Only where the group has no position."
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
        if not self.events_topic_names:
            raise ValueError("EVENTS_TOPICS names no topic")
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

    source: str | None = Field(
        None, description="CloudEvents source of the outcomes; default /asset-sync/GROUP_ID."
    )


class EventsSettings(_Group):
    """Which events are ours."""

    type_prefix: str = Field("", description="Narrows which event types are ours.")


class PimSettings(_Group):
    """The PIM and our connection to it."""

    base_url: _Text = Field(description="https://…; plain http only to loopback.")
    client_id: str | None = Field(None, description="Of the connection.")
    client_secret: SecretStr | None = Field(None, description="Of the connection.")
    username: str | None = Field(None, description="Of the connection.")
    password: SecretStr | None = Field(None, description="Of the connection.")
    app_token: SecretStr | None = Field(None, description="Instead of the four above.")
    ca_file: Path | None = Field(None, description="A private CA.")
    proxy_url: SecretStr | None = Field(None, description="A proxy to the PIM.")
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
        connection = {
            "CLIENT_ID": self.client_id,
            "CLIENT_SECRET": self.client_secret,
            "USERNAME": self.username,
            "PASSWORD": self.password,
        }
        given = [name for name, value in connection.items() if value]
        missing = [name for name, value in connection.items() if not value]
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
        128 * 1024**2, ge=1024, description="Likewise, of key, value and headers."
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

    endpoint: str | None = Field(
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


class Settings(BaseSettings):
    """Everything that can be set. Frozen; secrets show as asterisks."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX)

    kafka: KafkaSettings = Field(default_factory=lambda: KafkaSettings.model_validate({}))
    outcomes: OutcomesSettings = Field(default_factory=lambda: OutcomesSettings(source=None))
    events: EventsSettings = Field(default_factory=lambda: EventsSettings(type_prefix=""))
    deletes: Literal["apply", "skip"] = Field("apply", description="skip: deletes end skipped.")
    pim: PimSettings
    structure: StructureSettings = Field(
        default_factory=lambda: StructureSettings.model_validate({})
    )
    window: WindowSettings = Field(default_factory=lambda: WindowSettings.model_validate({}))
    retry: RetrySettings = Field(default_factory=lambda: RetrySettings.model_validate({}))
    pipeline: PipelineSettings = Field(default_factory=lambda: PipelineSettings.model_validate({}))
    dead_letters: DeadLettersSettings = Field(
        default_factory=lambda: DeadLettersSettings.model_validate({})
    )
    drain: DrainSettings = Field(default_factory=lambda: DrainSettings.model_validate({}))
    http: HttpSettings = Field(default_factory=lambda: HttpSettings.model_validate({}))
    traces: TracesSettings = Field(default_factory=lambda: TracesSettings.model_validate({}))
    log: LogSettings = Field(default_factory=lambda: LogSettings.model_validate({}))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` gathered: it knows where each value came from."""
        return (init_settings,)

    def rules(self) -> Rules:
        """What the core decides by."""
        return Rules(
            decode=DecodeLimits(self.kafka.max_record_bytes, self.events.type_prefix),
            deletes=self.deletes,
            window_seconds_max=self.window.max_seconds,
            window_assets_max=self.window.max_assets,
            window_bytes_max=self.window.max_bytes,
            calls_at_once_max=self.pim.max_concurrency,
            calls_per_second_max=self.pim.max_calls_per_second,
            structure=StructureRules(
                validate_values=self.structure.validate_values,
                create_options=self.structure.create_options,
                default_locale=self.structure.default_locale,
                max_age_seconds=self.structure.max_age_seconds,
            ),
            retry_attempts_max=self.retry.max_attempts,
            retry_seconds_max=self.retry.max_seconds,
            pending_changes_max=self.pipeline.max_pending_changes,
            pending_bytes_max=self.pipeline.max_pending_bytes,
            commit_interval_seconds=self.pipeline.commit_interval_seconds,
            dead_letter_share_max=self.dead_letters.max_share,
            outcome_source=self.outcomes.source or f"/asset-sync/{self.kafka.group_id}",
        )

    def warnings(self) -> list[str]:
        """Settings that are allowed and unwise, a sentence each."""
        kafka, pim, drain = self.kafka, self.pim, self.drain
        unwise = {
            f"{PREFIX}DRAIN__MAX_SECONDS ({drain.max_seconds:g}) is below "
            f"{PREFIX}PIM__TIMEOUT_SECONDS ({pim.timeout_seconds:g}): a drain may cut calls "
            "that the PIM is still working on.": drain.max_seconds < pim.timeout_seconds,
            f"{PREFIX}PIM__MAX_CONCURRENCY ({pim.max_concurrency}) is above "
            f"{PIM_CALLS_AT_ONCE}, what Akeneo allows a connection: expect 429s.": (
                pim.max_concurrency > PIM_CALLS_AT_ONCE
            ),
            f"{PREFIX}PIM__MAX_CALLS_PER_SECOND ({pim.max_calls_per_second}) is above "
            f"{PIM_CALLS_PER_SECOND}, what Akeneo allows all its callers: expect 429s.": (
                pim.max_calls_per_second > PIM_CALLS_PER_SECOND
            ),
            f"{PREFIX}PIPELINE__MAX_PENDING_CHANGES ({self.pipeline.max_pending_changes}) is "
            f"below {PREFIX}WINDOW__MAX_ASSETS ({self.window.max_assets}): windows never fill.": (
                self.pipeline.max_pending_changes < self.window.max_assets
            ),
            f"{PREFIX}PIPELINE__MAX_PENDING_BYTES is below {PREFIX}KAFKA__MAX_RECORD_BYTES: "
            "one record may pause the intake.": (
                self.pipeline.max_pending_bytes < kafka.max_record_bytes
            ),
            f"{PREFIX}KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: the password crosses "
            "the network readable.": (
                kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN"
            ),
        }
        return [sentence for sentence, is_so in unwise.items() if is_so]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens the PIM: an app token, or the four of a connection. Never shown."""

    app_token: str | None = None
    client_id: str = ""
    client_secret: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Credentials(**********)"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where they came from, and what to say about them."""

    settings: Settings
    sources: tuple[str, ...]
    warnings: tuple[str, ...]
    secret_files: Mapping[tuple[str, ...], Path]

    def credentials(self) -> Credentials:
        """The PIM's credentials as of now: their files are read again each time.

        Raises:
            SettingsError: a secret file cannot be read.
        """
        pim = self.settings.pim

        def now(name: str, value: SecretStr | str | None) -> str:
            path = self.secret_files.get(("pim", name))
            if path is not None:
                return _read_secret(path)
            return value.get_secret_value() if isinstance(value, SecretStr) else value or ""

        return Credentials(
            app_token=now("app_token", pim.app_token) or None,
            client_id=now("client_id", pim.client_id),
            client_secret=now("client_secret", pim.client_secret),
            username=now("username", pim.username),
            password=now("password", pim.password),
        )


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Loaded:
    """Read the settings.

    Raises:
        SettingsError: something is missing, wrong or unknown; the message says what to do.
    """
    environ = os.environ if environ is None else environ
    from_file = _dotenv(dotenv)
    variables = {**from_file, **{k: v for k, v in environ.items() if k.startswith(PREFIX)}}
    problems, warnings = _unknown(variables)
    values, secret_files, flaws = _gather(variables)
    if problems or flaws:
        raise SettingsError("\n".join([*problems, *flaws]))
    try:
        settings = Settings(**_nested(values))
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error))) from None
    sources = ["environment"] if any(k.startswith(PREFIX) for k in environ) else []
    if from_file:
        sources.append(str(dotenv))
    sources += [str(path) for path in secret_files.values()]
    return Loaded(
        settings,
        (*sources, "defaults"),
        (*warnings, *settings.warnings()),
        secret_files,
    )


def reference() -> str:
    """Every setting, as `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Environment variables, also from a `.env` file. Those marked *secret* may come as a file:",
        "`…_FILE` names it, or a file of that name lies in `ASSET_SYNC_SECRETS_DIR`. Sizes take a",
        "unit (`128MiB`). An unknown `ASSET_SYNC_*` variable is an error, unless",
        "`ASSET_SYNC_UNKNOWN_VARIABLES=warn`. This page is generated: `make schemas`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for variable, group, name in variables():
        field = group.model_fields[name]
        default = "required" if field.is_required() else _default(field.default)
        secret = " *Secret.*" if _is_secret(group, name) else ""
        lines.append(f"| `{variable}` | {default} | {field.description or ''}{secret} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def variables() -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every variable, with the group and the name of its field."""
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner, found in kind.model_fields.items():
                yield f"{PREFIX}{name}__{found.alias or inner}".upper(), kind, inner
        else:
            yield f"{PREFIX}{name}".upper(), Settings, name


def _path_of(variable: str) -> tuple[str, ...]:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _is_secret(group: type[BaseModel], name: str) -> bool:
    """Secrets and the names that go with them may come as files."""
    is_name = name == "sasl_username" or (group is PimSettings and name in _PIM_NAMES)
    return is_name or "SecretStr" in str(group.model_fields[name].annotation)


def _dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        lines = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    return {k: v or "" for k, v in lines.items() if k.startswith(PREFIX)}


def _unknown(given: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What is named like ours and is not known: problems, or warnings where they are wanted."""
    known = {variable for variable, _, _ in variables()}
    files = {f"{v}_FILE" for v, group, name in variables() if _is_secret(group, name)}
    special = {SECRETS_DIR, UNKNOWN_VARIABLES}
    lines = []
    for name in sorted(given.keys() - known - files - special):
        if _SERVICE_LINK.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, known | files | special, n=1, cutoff=0.4)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"{name} is no setting of asset-sync.{hint}")
    mode = given.get(UNKNOWN_VARIABLES, "error")
    if mode not in {"error", "warn"}:
        return [*lines, f"{UNKNOWN_VARIABLES} must be error or warn, not {mode!r}."], []
    return ([], lines) if mode == "warn" else (lines, [])


def _gather(
    given: Mapping[str, str],
) -> tuple[dict[tuple[str, ...], str], dict[tuple[str, ...], Path], list[str]]:
    """Values by path, the files that secrets came from, and what is wrong with those."""
    values: dict[tuple[str, ...], str] = {}
    files: dict[tuple[str, ...], Path] = {}
    flaws: list[str] = []
    directory = given.get(SECRETS_DIR)
    if directory and not Path(directory).is_dir():
        flaws.append(f"{SECRETS_DIR}: {directory} is no directory.")
    for variable, group, name in variables():
        path = _path_of(variable)
        if variable in given:
            values[path] = given[variable]
        if not _is_secret(group, name):
            continue
        file = _secret_file(variable, given, directory)
        if file is None:
            continue
        if f"{variable}_FILE" in given and variable in given:
            flaws.append(f"{variable} and {variable}_FILE are both set; leave one out.")
        elif variable not in given:
            try:
                values[path] = _read_secret(file)
                files[path] = file
            except SettingsError as error:
                flaws.append(f"{variable}_FILE: {error}")
    return values, files, flaws


def _secret_file(variable: str, given: Mapping[str, str], directory: str | None) -> Path | None:
    named = given.get(f"{variable}_FILE")
    if named:
        return Path(named)
    if directory:
        for name in (variable.removeprefix(PREFIX).lower(), variable.lower(), variable):
            if (Path(directory) / name).is_file():
                return Path(directory) / name
    return None


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        if len(content) > SECRET_BYTES_MAX:
            raise SettingsError(f"{path} is larger than {SECRET_BYTES_MAX} bytes.")
        return content.decode().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path} cannot be read: {reason}.") from None


def _nested(values: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        if value == "" and path != ("events", "type_prefix"):
            continue  # an empty variable is one that is not set
        place = nested
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return {"pim": {}, **nested}


def _lines(error: ValidationError) -> Iterator[str]:
    """One plain line a problem; the value is never shown, it may be a secret."""
    for flaw in error.errors(include_input=False, include_url=False):
        place = PREFIX + "__".join(str(part) for part in flaw["loc"]).upper()
        message = flaw["msg"].removeprefix("Value error, ")
        if flaw["type"] == "missing":
            message = "is required"
        yield f"{place}: {message}."


def _check_url(url: str, *, allow_http: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("BASE_URL must be a URL such as https://example.cloud.akeneo.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("BASE_URL must have no user, query or fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ValueError(
            "BASE_URL is plain http to another host: use https, or set PIM__ALLOW_HTTP=true"
        )


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_kafka(environ: Mapping[str, str] | None = None) -> KafkaSettings:
    """The Kafka settings alone, for commands that need no PIM.

    Raises:
        SettingsError: as `load`.
    """
    return _load_without_pim(environ).kafka


def load_http(environ: Mapping[str, str] | None = None) -> HttpSettings:
    """The settings of the service's own port alone, for commands that talk to it.

    Raises:
        SettingsError: as `load`.
    """
    return _load_without_pim(environ).http


def _load_without_pim(environ: Mapping[str, str] | None) -> Settings:
    environ = os.environ if environ is None else environ
    stand_in = {f"{PREFIX}PIM__BASE_URL": "https://unused.example", f"{PREFIX}PIM__APP_TOKEN": "-"}
    given = {k: v for k, v in environ.items() if not k.startswith(f"{PREFIX}PIM__")}
    return load(given | stand_in, None).settings
