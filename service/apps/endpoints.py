"""The endpoints of a sources file: the webhook of each source that has one."""

from service.mapping.file.load import Loaded
from service.mapping.results import MappedSource, RawRecord
from service.settings import SettingsError
from service.webhooks.endpoint import Endpoint, endpoint_of
from service.webhooks.record import Identity, RecordHeaders


def endpoints_of(file: Loaded) -> tuple[Endpoint, ...]:
    """Return an endpoint for each source with a webhook.

    Raises:
        SettingsError: no source has a webhook.
    """
    found = tuple(
        endpoint_of(name, source.webhook, source.topics[0], _identity(file, name))
        for name, source in file.model.sources.items()
        if source.webhook is not None
    )
    if not found:
        raise SettingsError(f"{file.merged.name}: no source has a `webhook`, so nothing can come.")
    return found


def _identity(file: Loaded, name: str) -> Identity | None:
    """Return the function that reads the identity of an asset; None if the source has none."""
    source = file.model.sources[name]
    return None if source.identity is None else _reader(file.sources[name], source.topics[0])


def _reader(source: MappedSource, topic: str) -> Identity:
    def identity(value: bytes, headers: RecordHeaders) -> str | None:
        return source.identity(RawRecord(topic, 0, 0, None, value, headers))

    return identity
