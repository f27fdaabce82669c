"""Every setting by its variable, and the page that tells of them."""

from collections.abc import Iterator

from pydantic import BaseModel

from service.settings.groups import PimSettings
from service.settings.model import PREFIX, Settings

_PIM_NAMES = frozenset({"client_id", "username"})


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
        secret = " *Secret.*" if is_secret(group, name) else ""
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


def is_secret(group: type[BaseModel], name: str) -> bool:
    """Secrets and the names that go with them may come as files."""
    is_name = name == "sasl_username" or (group is PimSettings and name in _PIM_NAMES)
    return is_name or "SecretStr" in str(group.model_fields[name].annotation)
