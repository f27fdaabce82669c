"""The command `asset-sync init`: write files to start with."""

from importlib.resources import files
from pathlib import Path

import click

from service.cli.options import stop
from service.cli.output import say, shown

FILES = {
    "README.md": "what to do next, in five steps",
    ".env": "the settings of Kafka and the PIM",
    "events.jsonl": "three sample events",
    "secret.yaml": "the credentials as a Secret, for Kubernetes",
    "values.yaml": "values of the Helm chart",
}
"""What each file is for."""
_TEMPLATES = {".env": "settings.env"}
"""Templates with another name than their file."""
_SECRETS = frozenset({".env", "secret.yaml"})
"""Files that only their owner may read."""


@click.command(epilog="Example:\n  asset-sync init asset-sync-start")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(*, folder: Path) -> None:
    """Write files to start with into DIR: settings, sample events, and what Kubernetes needs.

    Commands that run in DIR read its settings. A file that exists is never overwritten: then
    nothing is written at all.
    """
    if existing := sorted(name for name in FILES if (folder / name).exists()):
        stop(f"{shown(str(folder))} has {', '.join(existing)} already. Nothing was written.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            _write(
                folder / name,
                (files("service.starter") / _TEMPLATES.get(name, name)).read_text("utf-8"),
            )
    except OSError as error:
        stop(f"{shown(str(error.filename or folder))} cannot be written: {error.strerror}.")
    for name, purpose in FILES.items():
        say(f"  {name:<13} {purpose}")
    way = "" if folder.resolve() == Path.cwd() else f"cd {shown(str(folder))}, "
    say(f"Next: {way}fill in .env, then run: asset-sync check")


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600 if path.name in _SECRETS else 0o644)
    path.write_text(text, encoding="utf-8")
