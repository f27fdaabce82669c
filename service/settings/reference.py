"""The list of all settings, and the page `docs/settings.md` that is made from it."""

from collections.abc import Iterator

from pydantic import BaseModel

from service.settings.model import Settings
from service.settings.sections import PimSettings
from service.settings.variables import PREFIX

_PIM_NAMES = frozenset({"client_id", "username"})


def reference() -> str:
    """Return the text of `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "All settings are environment variables; a `.env` file may hold them too. A value marked",
        "*Secret* can also be read from a file: set `…_FILE` to its path, or put a file with the",
        "variable's name into the directory `ASSET_SYNC_SECRETS_DIR`. Sizes may have a unit",
        "(`128MiB`). An unknown `ASSET_SYNC_*` variable is an error, unless",
        "`ASSET_SYNC_UNKNOWN_VARIABLES=warn`. This page is generated: `make schemas`.",
        "",
        "Secrets that the sources file names are read from the variable `ASSET_SYNC_SECRET__NAME`",
        "or from the file `NAME` in `ASSET_SYNC_SECRETS_DIR`.",
        "",
        "`ASSET_SYNC_PIM__*` is required only by `asset-sync run`, `asset-sync check` and",
        "`asset-sync media get`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for variable, group, name in variables():
        field = group.model_fields[name]
        default = "required" if field.is_required() else _default(field.default)
        secret = " *Secret.*" if is_secret(group, name) else ""
        lines.append(f"| `{variable}` | {default} | {field.description or ''}{secret} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def variables() -> Iterator[tuple[str, type[BaseModel], str]]:
    """Yield every variable with the group and the name of its field."""
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner, found in kind.model_fields.items():
                yield f"{PREFIX}{name}__{found.alias or inner}".upper(), kind, inner
        else:
            yield f"{PREFIX}{name}".upper(), Settings, name


def is_secret(group: type[BaseModel], name: str) -> bool:
    """Return whether the value may come from a file: a secret, or the name that goes with one."""
    is_name = name == "sasl_username" or (group is PimSettings and name in _PIM_NAMES)
    return is_name or "SecretStr" in str(group.model_fields[name].annotation)
