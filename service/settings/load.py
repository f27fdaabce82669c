"""Reads the settings; no other file reads the environment (contract.md §3).

The sources, strongest first: the environment, a `.env` file, mounted secret files, defaults.
An unknown `ASSET_SYNC_*` variable is an error that names the nearest known one.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from service.settings.model import Settings
from service.settings.reference import is_secret, variables
from service.settings.secrets import SECRET, SecretStore, Unreadable, read_secret
from service.settings.sections import is_visible_ascii
from service.settings.variables import PREFIX, SECRETS_DIR, UNKNOWN_VARIABLES

DOTENV = Path(".env")

_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\w+)")


class SettingsError(Exception):
    """The settings cannot be used. The message has a line for each problem, with its variable."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for the PIM: an app token, or the four values of an Akeneo connection."""

    app_token: str | None = None
    client_id: str = ""
    client_secret: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        # A log or a traceback may show this object.
        return "Credentials(**********)"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, their sources, and warnings about them for the log."""

    settings: Settings
    sources: tuple[str, ...]
    warnings: tuple[str, ...]
    secret_files: Mapping[tuple[str, ...], Path]
    secrets: SecretStore

    def credentials(self) -> Credentials:
        """Return the PIM's credentials; secret files are read again, so that secrets can rotate.

        Raises:
            SettingsError: a secret file cannot be read, or the token is not visible ASCII.
        """
        pim = self.settings.pim

        def now(name: str, value: SecretStr | str | None) -> str:
            path = self.secret_files.get(("pim", name))
            if path is not None:
                return _read_secret(path)
            return value.get_secret_value() if isinstance(value, SecretStr) else value or ""

        app_token = now("app_token", pim.app_token) or None
        if app_token is not None and not is_visible_ascii(app_token):
            raise SettingsError(f"{PREFIX}PIM__APP_TOKEN must be visible ASCII.")
        return Credentials(
            app_token=app_token,
            client_id=now("client_id", pim.client_id),
            client_secret=now("client_secret", pim.client_secret),
            username=now("username", pim.username),
            password=now("password", pim.password),
        )


_NO_PIM: dict[tuple[str, ...], str] = {
    ("pim", "base_url"): "https://unused.example",
    ("pim", "app_token"): "-",
}
"""What stands in for the PIM's settings where nobody uses them."""


def load(
    environ: Mapping[str, str] | None = None,
    dotenv: Path | None = DOTENV,
    *,
    needs_pim: bool = True,
) -> Loaded:
    """Read all settings; `PIM__*` is ignored by programs and commands that do not call the PIM.

    Raises:
        SettingsError: a setting is missing, wrong or unknown; the message says what to do.
    """
    if needs_pim:
        return _load(environ, dotenv, leave_out=None, stand_in={})
    return _load(environ, dotenv, leave_out="pim", stand_in=_NO_PIM)


def load_without_pim(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = DOTENV
) -> Settings:
    """Return the settings for commands that do not call the PIM.

    Raises:
        SettingsError: a setting other than `PIM__*` is missing, wrong or unknown.
    """
    return load(environ, dotenv, needs_pim=False).settings


def _load(
    environ: Mapping[str, str] | None,
    dotenv: Path | None,
    *,
    leave_out: str | None,
    stand_in: Mapping[tuple[str, ...], str],
) -> Loaded:
    environ = os.environ if environ is None else environ
    from_file = _dotenv(dotenv)
    variables = {**from_file, **{k: v for k, v in environ.items() if k.startswith(PREFIX)}}
    problems, warnings = _unknown(variables)
    values, secret_files, flaws = _gather(variables, leave_out)
    if problems or flaws:
        raise SettingsError("\n".join([*problems, *flaws]))
    try:
        settings = Settings(**_nested({**values, **stand_in}))
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
        SecretStore(variables, _path_or_none(variables.get(SECRETS_DIR))),
    )


def _path_or_none(text: str | None) -> Path | None:
    return Path(text) if text else None


def _path_of(variable: str) -> tuple[str, ...]:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        _check_lines(path)
        lines = dotenv_values(path, interpolate=False)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8: save it as UTF-8.") from None
    return {k: v or "" for k, v in lines.items() if k.startswith(PREFIX)}


def _check_lines(path: Path) -> None:
    """Refuse a line that cannot be read: without it, a setting would silently have its default.

    The line is not shown, because it may hold a secret. Lines of other programs do not matter.
    """
    with path.open(encoding="utf-8-sig") as file:
        wrong = [one.original for one in parse_stream(file) if one.error]
    for line in wrong:
        if PREFIX in line.string:
            raise SettingsError(
                f"{path}: line {line.line} cannot be read: write NAME=VALUE, and close each quote."
            )


def _unknown(given: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return problems and warnings for variables that begin with the prefix and are not known."""
    known = {variable for variable, _, _ in variables()}
    files = {f"{v}_FILE" for v, group, name in variables() if is_secret(group, name)}
    special = {SECRETS_DIR, UNKNOWN_VARIABLES}
    lines = []
    for name in sorted(given.keys() - known - files - special):
        if name.startswith(SECRET) or _SERVICE_LINK.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, known | files | special, n=1, cutoff=0.4)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"Unknown setting {name}.{hint}")
    mode = given.get(UNKNOWN_VARIABLES, "error")
    if mode not in {"error", "warn"}:
        return [*lines, f"{UNKNOWN_VARIABLES} must be error or warn, not {mode!r}."], []
    return ([], lines) if mode == "warn" else (lines, [])


def _gather(
    given: Mapping[str, str], leave_out: str | None
) -> tuple[dict[tuple[str, ...], str], dict[tuple[str, ...], Path], list[str]]:
    """Return the values by path, the files that secrets came from, and problems with them."""
    values: dict[tuple[str, ...], str] = {}
    files: dict[tuple[str, ...], Path] = {}
    flaws: list[str] = []
    directory = given.get(SECRETS_DIR)
    if directory and not Path(directory).is_dir():
        flaws.append(f"{SECRETS_DIR}: {directory} is not a directory.")
    for variable, group, name in variables():
        path = _path_of(variable)
        if path[0] == leave_out:
            continue
        if variable in given:
            values[path] = given[variable]
        if not is_secret(group, name):
            continue
        file = _secret_file(variable, given, directory)
        if file is None:
            continue
        if f"{variable}_FILE" in given and variable in given:
            flaws.append(f"{variable} and {variable}_FILE are both set: remove one of them.")
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
    secret = read_secret(path)
    if isinstance(secret, Unreadable):
        raise SettingsError(secret.message)
    return secret


def _nested(values: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        if value == "" and path != ("events", "type_prefix"):
            continue  # a compose file or a shell leaves an unset variable empty
        node = nested
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return {"pim": {}, **nested}


def _lines(error: ValidationError) -> Iterator[str]:
    """Yield a line for each problem, without the value, which may be a secret."""
    for flaw in error.errors(include_input=False, include_url=False):
        name = PREFIX + "__".join(str(part) for part in flaw["loc"]).upper()
        message = flaw["msg"].removeprefix("Value error, ")
        if flaw["type"] == "missing":
            message = "is required"
        # A check of several groups has no place of its own: its message begins with a setting.
        yield f"{name}: {message}." if flaw["loc"] else f"{PREFIX}{message}."
