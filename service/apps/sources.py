"""The sources file of a program: read, checked and tested before anything else starts."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from service.mapping.file.checks import Surroundings
from service.mapping.file.load import Loaded, load
from service.mapping.file.model import Source, SourcesFile
from service.mapping.file.text import BYTES_MAX
from service.mapping.file.webhook import Verify
from service.mapping.file_tests import ReadFile, UnreadableFile, run_file_tests
from service.settings import (
    PREFIX,
    SecretStore,
    Settings,
    SettingsError,
    Unreadable,
    reserved_names,
)
from service.webhooks.endpoint import scheme_of

VALUE_FILE_BYTES_MAX = 16 * 1024 * 1024
"""Largest file with the value of a test's record, in bytes."""


def load_sources(settings: Settings) -> Loaded:
    """Return the file that ASSET_SYNC_SOURCES_FILE names; all of its tests have passed.

    Raises:
        SettingsError: There is no such file, something in it is wrong, or a test fails. The message
            has a line for each.
    """
    if settings.sources_file is None:
        raise SettingsError(f"{PREFIX}SOURCES_FILE is required: it names the sources file.")
    loaded = read_sources(settings.sources_file, settings)
    failed = list(failed_tests(loaded, settings.sources_file))
    if failed:
        raise SettingsError("\n".join(failed))
    return loaded


def read_sources(path: Path, settings: Settings) -> Loaded:
    """Return a sources file, whose tests are not run.

    Raises:
        SettingsError: The file cannot be read, or something in it is wrong. The message has a line
            for each fault.
    """
    content = _content(path, BYTES_MAX + 1)  # one byte more is refused with its place
    if isinstance(content, UnreadableFile):
        raise SettingsError(content.message)
    around = Surroundings(settings.own_topics(), reserved_names())
    loaded = load(content, str(path), around)
    if not isinstance(loaded, Loaded):
        raise SettingsError("\n".join(map(str, loaded)))
    return loaded


def failed_tests(loaded: Loaded, path: Path) -> Iterator[str]:
    """Yield a line for each difference in the tests of the file."""
    for result in run_file_tests(loaded, reader_beside(path)):
        for found in result.differences:
            made_by = f" ({found.made_by})" if found.made_by else ""
            yield (
                f"{result.place}: the test `{result.name}` fails: {found.about}: "
                f"expected {found.expected}, found {found.found}{made_by}"
            )


def reader_beside(path: Path) -> ReadFile:
    """Return the function that reads a file by its path relative to the folder of this one."""
    return lambda name: _content(path.parent / name, VALUE_FILE_BYTES_MAX)


def selected_sources(loaded: Loaded, settings: Settings) -> tuple[str, ...]:
    """Return the names of the sources that this process translates.

    Raises:
        SettingsError: TRANSLATE__SOURCES names a source that the file does not have.
    """
    names = settings.translate.source_names or tuple(loaded.sources)
    unknown = [name for name in names if name not in loaded.sources]
    if unknown:
        raise SettingsError(
            f"{PREFIX}TRANSLATE__SOURCES: the file has no source {', '.join(unknown)}. "
            f"It has {', '.join(loaded.sources)}."
        )
    return names


def check_secrets(secrets: SecretStore, names: Iterable[str]) -> None:
    """Check that each of these secrets can be read.

    Raises:
        SettingsError: Some cannot; the message has a line for each.
    """
    if unreadable := secrets.unreadable(names):
        raise SettingsError("\n".join(unreadable))


def check_webhook_secrets(file: SourcesFile, secrets: SecretStore) -> None:
    """Check that each secret of a webhook can be read, and can verify a request.

    Raises:
        SettingsError: Some cannot; the message has a line for each.
    """
    if flaws := flaws_of_webhook_secrets(file, secrets):
        raise SettingsError("\n".join(flaws))


def reader_of(secrets: SecretStore) -> Callable[[str], str]:
    """Return the function that reads a secret by its name, or raises a SettingsError."""

    def read(name: str) -> str:
        secret = secrets.read(name)
        if isinstance(secret, Unreadable):
            raise SettingsError(secret.message)
        return secret

    return read


def secrets_of_hosts(file: SourcesFile, sources: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the secrets that these sources need to read assets back."""
    hosts = dict.fromkeys(host for name in sources for host in _hosts_of(file.sources[name]))
    auths = (file.hosts[host].auth for host in hosts)
    return tuple(dict.fromkeys(secret for auth in auths if auth for secret in auth.secrets))


def flaws_of_webhook_secrets(file: SourcesFile, secrets: SecretStore) -> tuple[str, ...]:
    """Return a sentence for each secret of a webhook that cannot be read, or verifies nothing."""
    verifies = (
        source.webhook.verify for source in file.sources.values() if source.webhook is not None
    )
    found = (_flaw(verify, name, secrets) for verify in verifies for name in verify.secrets)
    return tuple(dict.fromkeys(flaw for flaw in found if flaw is not None))


def _flaw(verify: Verify, name: str, secrets: SecretStore) -> str | None:
    secret = secrets.read(name)
    if isinstance(secret, Unreadable):
        return secret.message
    flaw = scheme_of(verify).flaw_of(secret)
    return None if flaw is None else f"The secret {name} {flaw}."


def topics_of_webhooks(file: SourcesFile) -> tuple[str, ...]:
    """Return the topics that the deliveries of all webhooks are written to."""
    found = (
        source.webhook.topic or source.topics[0]
        for source in file.sources.values()
        if source.webhook is not None
    )
    return tuple(dict.fromkeys(found))


def _hosts_of(source: Source) -> Iterator[str]:
    yield from (fetch.host for fetch in source.fetches)


def _content(path: Path, limit: int) -> bytes | UnreadableFile:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        return UnreadableFile(f"{path} cannot be read: {error.strerror or error}.")
