"""All settings together, the core's limits made from them, and warnings about unwise values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.core.limits import DecodeLimits, Limits, MediaOptions, StructureOptions
from service.settings.console import ConsoleSettings
from service.settings.kafka import KafkaSettings
from service.settings.media import MediaSettings
from service.settings.sections import (
    INGRESS_OVERHEAD_BYTES,
    DeadLettersSettings,
    DrainSettings,
    EventsSettings,
    HttpSettings,
    IngressSettings,
    LogSettings,
    OutcomesSettings,
    PimSettings,
    PipelineSettings,
    RetrySettings,
    StructureSettings,
    TracesSettings,
    TranslateSettings,
    WindowSettings,
)
from service.settings.variables import PREFIX
from service.translation.limits import TranslationLimits

URI_SAFE = "!$&'()*+,;=:@"
"""Characters of a group id that need no escape in the path of a URI (RFC 3986)."""
PIM_CALLS_AT_ONCE = 4
"""Concurrent calls that Akeneo allows for one connection (akeneo.md §7)."""
PIM_CALLS_PER_SECOND = 100
"""Requests a second that Akeneo allows for all clients of one PIM together (akeneo.md §7)."""


class Settings(BaseSettings):
    """All settings. They cannot be changed, and secrets are shown as asterisks."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX)

    kafka: KafkaSettings = Field(default_factory=lambda: KafkaSettings.model_validate({}))
    outcomes: OutcomesSettings = Field(default_factory=lambda: OutcomesSettings(source=None))
    events: EventsSettings = Field(default_factory=lambda: EventsSettings(type_prefix=""))
    deletes: Literal["apply", "skip"] = Field(
        "apply",
        description="apply sends deletes to the PIM. skip sends none of them: each delete ends "
        "skipped as deletes_off.",
    )
    deletes_max_per_hour: int = Field(
        1_000,
        ge=0,
        description="Deletes of one family that a replica lets through in an hour. Further ones "
        "wait until `asset-sync release`; all other changes go on. Deletes of absent assets do not "
        "count. 0 turns this ceiling off.",
    )
    pim: PimSettings
    sources_file: Path | None = Field(
        None,
        description="YAML file that says what the events of each DAM mean, for translate, ingress "
        "and check (docs/sources.md).",
    )
    translate: TranslateSettings = Field(
        default_factory=lambda: TranslateSettings.model_validate({})
    )
    ingress: IngressSettings = Field(default_factory=lambda: IngressSettings.model_validate({}))
    console: ConsoleSettings = Field(default_factory=lambda: ConsoleSettings.model_validate({}))
    structure: StructureSettings = Field(
        default_factory=lambda: StructureSettings.model_validate({})
    )
    media: MediaSettings = Field(default_factory=lambda: MediaSettings.model_validate({}))
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
        """Use only what `load` gathered, because it knows where each value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.translate_topic in {self.kafka.outcomes_topic, self.kafka.dead_letters_topic}:
            raise ValueError(
                "TRANSLATE__TOPIC must be neither OUTCOMES_TOPIC nor DEAD_LETTERS_TOPIC"
            )
        room = self.ingress_body_room
        if (given := self.ingress.max_body_bytes) is not None and given > room:
            raise ValueError(
                f"INGRESS__MAX_BODY_BYTES ({given}) must be at most {room}: with its headers, a "
                f"body has to fit into KAFKA__MAX_RECORD_BYTES ({self.kafka.max_record_bytes})"
            )
        return self

    @property
    def ingress_body_room(self) -> int:
        """The largest body of a webhook that fits into a record."""
        record = self.kafka.max_record_bytes
        return max(record - INGRESS_OVERHEAD_BYTES, record // 2)

    @property
    def ingress_body_bytes_max(self) -> int:
        """The largest body of a webhook that is accepted."""
        return self.ingress.max_body_bytes or self.ingress_body_room

    @property
    def translate_topic(self) -> str:
        """The topic that translate writes the changes to."""
        return self.translate.topic or self.kafka.events_topic_names[0]

    def own_topics(self) -> Mapping[str, str]:
        """Return the topics that asset-sync writes, each with the setting that names it."""
        return {
            self.kafka.dead_letters_topic: f"{PREFIX}KAFKA__DEAD_LETTERS_TOPIC",
            self.kafka.outcomes_topic: f"{PREFIX}KAFKA__OUTCOMES_TOPIC",
            self.translate_topic: f"{PREFIX}TRANSLATE__TOPIC",
        }

    def limits(self) -> Limits:
        """Return the limits that the core decides by.

        This is the only place where a setting's name meets the name in the core, which puts `max`
        last and its unit before: `PIPELINE__MAX_PENDING_CHANGES` is `pending_changes_max` there,
        and `pending_changes_limit` in the metrics.
        """
        return Limits(
            decode=DecodeLimits(self.kafka.max_record_bytes, self.events.type_prefix),
            deletes=self.deletes,
            deletes_per_hour_max=self.deletes_max_per_hour,
            window_seconds_max=self.window.max_seconds,
            window_assets_max=self.window.max_assets,
            window_bytes_max=self.window.max_bytes,
            calls_at_once_max=self.pim.max_concurrency,
            calls_per_second_max=self.pim.max_calls_per_second,
            structure=StructureOptions(
                validate_values=self.structure.validate_values,
                create_options=self.structure.create_options,
                default_locale=self.structure.default_locale,
                max_age_seconds=self.structure.max_age_seconds,
            ),
            media=MediaOptions(
                hosts=frozenset(self.media.public_host_names),
                private_hosts=frozenset(self.media.private_host_names),
                file_bytes_max=self.media.max_bytes,
                disk_bytes_max=self.media.disk_bytes,
                downloads_at_once_max=self.media.max_concurrency,
                remembered_max=self.media.remember,
            ),
            retry_attempts_max=self.retry.max_attempts,
            retry_seconds_max=self.retry.max_seconds,
            pending_changes_max=self.pipeline.max_pending_changes,
            pending_bytes_max=self.pipeline.max_pending_bytes,
            commit_interval_seconds=self.pipeline.commit_interval_seconds,
            dead_letter_share_max=self.dead_letters.max_share,
            outcome_source=self.outcomes.source or self.default_source,
        )

    @property
    def default_source(self) -> str:
        """The CloudEvents source that names this deployment."""
        return f"/asset-sync/{quote(self.kafka.group_id, safe=URI_SAFE)}"

    def translation_limits(self, sources: int) -> TranslationLimits:
        """Return the limits of each of this many sources, which share what may be pending."""
        pipeline = self.pipeline
        return TranslationLimits(
            record_bytes_max=self.kafka.max_record_bytes,
            pending_items_max=max(1, pipeline.max_pending_changes // sources),
            pending_bytes_max=max(1, pipeline.max_pending_bytes // sources),
            commit_interval_seconds=pipeline.commit_interval_seconds,
            dead_letter_share_max=self.dead_letters.max_share,
            deletes_per_hour_max=self.deletes_max_per_hour,
        )

    def warnings(self) -> list[str]:
        """Return a sentence for each setting that is allowed but unwise."""
        kafka, pim, drain = self.kafka, self.pim, self.drain
        unwise = {
            f"{PREFIX}DRAIN__MAX_SECONDS ({drain.max_seconds:g}) is below "
            f"{PREFIX}PIM__TIMEOUT_SECONDS ({pim.timeout_seconds:g}): a drain may cancel "
            "calls that the PIM is still working on.": drain.max_seconds < pim.timeout_seconds,
            f"{PREFIX}PIM__MAX_CONCURRENCY ({pim.max_concurrency}) is above "
            f"{PIM_CALLS_AT_ONCE}, which is what Akeneo allows for a connection: expect 429s.": (
                pim.max_concurrency > PIM_CALLS_AT_ONCE
            ),
            f"{PREFIX}PIM__MAX_CALLS_PER_SECOND ({pim.max_calls_per_second}) is above "
            f"{PIM_CALLS_PER_SECOND}, which is what Akeneo allows for all clients: expect 429s.": (
                pim.max_calls_per_second > PIM_CALLS_PER_SECOND
            ),
            f"{PREFIX}PIPELINE__MAX_PENDING_CHANGES ({self.pipeline.max_pending_changes}) is "
            f"below {PREFIX}WINDOW__MAX_ASSETS ({self.window.max_assets}): no batch gets full.": (
                self.pipeline.max_pending_changes < self.window.max_assets
            ),
            f"{PREFIX}PIPELINE__MAX_PENDING_BYTES is below {PREFIX}KAFKA__MAX_RECORD_BYTES: "
            "a single large record pauses the intake.": (
                self.pipeline.max_pending_bytes < kafka.max_record_bytes
            ),
            f"{PREFIX}TRANSLATE__TOPIC ({self.translate_topic}) is not among "
            f"{PREFIX}KAFKA__EVENTS_TOPICS: nobody reads what translate writes.": (
                self.translate_topic not in kafka.events_topic_names
            ),
            f"{PREFIX}KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: the password or "
            "the token is readable on the network.": (
                kafka.security_protocol == "SASL_PLAINTEXT"
                and kafka.sasl_mechanism in {"PLAIN", "OAUTHBEARER"}
            ),
        }
        return [sentence for sentence, is_so in unwise.items() if is_so]
