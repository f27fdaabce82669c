"""Secrets of the sources file: a variable or a mounted file, read again each time, never shown."""

from pathlib import Path

import pytest

from service.settings import SecretStore, Unreadable, load, reserved_names
from service.settings.secrets import SECRET_BYTES_MAX


def store(directory: Path | None = None, **variables: str) -> SecretStore:
    """Return the secrets of a program that starts with these."""
    given = {f"ASSET_SYNC_SECRET__{name}": value for name, value in variables.items()}
    if directory is not None:
        given["ASSET_SYNC_SECRETS_DIR"] = str(directory)
    return load(given, None, needs_pim=False).secrets


def test_a_secret_is_a_variable_or_a_file(tmp_path: Path) -> None:
    """Its name in the file is lower case as a rule, that of a variable is not."""
    (tmp_path / "bynder_id").write_text("from a file\n")
    (tmp_path / "token").write_text("from a file")
    secrets = store(tmp_path, TOKEN="from a variable")

    assert secrets.read("bynder_id") == "from a file"
    assert secrets.read("token") == "from a variable"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_marks_and_line_ends_of_a_file_are_no_part_of_a_secret(
    tmp_path: Path, end: str, mark: bytes
) -> None:
    """Editors and `echo` put them there; blanks may be meant."""
    (tmp_path / "token").write_bytes(mark + b" s3cret " + end.encode())

    assert store(tmp_path).read("token") == " s3cret "


def test_a_rotated_secret_is_read_without_a_restart(tmp_path: Path) -> None:
    secrets = store(tmp_path)
    (tmp_path / "token").write_text("old")
    assert secrets.read("token") == "old"

    (tmp_path / "token").write_text("new")
    assert secrets.read("token") == "new"

    (tmp_path / "token").unlink()
    assert isinstance(secrets.read("token"), Unreadable)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is missing: set ASSET_SYNC_SECRET__TOKEN, or put a file token into"),
        (b"", "is missing"),
        (b"\n", "is missing"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"x" * (SECRET_BYTES_MAX + 1), f"is larger than {SECRET_BYTES_MAX} bytes"),
    ],
)
def test_what_cannot_be_a_secret_says_why(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """An empty secret would verify what anybody signs with an empty key."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    found = store(tmp_path).read("token")

    assert isinstance(found, Unreadable)
    assert found.message.startswith("The secret token")
    assert reason in found.message


def test_a_variable_that_is_not_utf_8_is_no_secret() -> None:
    """Python keeps bytes that it cannot decode as lone surrogates, which nobody can sign with."""
    found = store(TOKEN="a\udcff").read("token")

    assert isinstance(found, Unreadable)
    assert found.message == (
        "The secret token: the variable ASSET_SYNC_SECRET__TOKEN is not UTF-8."
    )


def test_all_missing_secrets_are_named_at_once() -> None:
    messages = store(A="x", B="").unreadable(["a", "b", "c", "c"])

    assert [message.split()[2] for message in messages] == ["b", "c"]


def test_a_store_shows_no_secret() -> None:
    assert "s3cret" not in repr(load({"ASSET_SYNC_SECRET__A": "s3cret"}, None, needs_pim=False))


def test_secret_variables_are_known_to_every_program() -> None:
    """`run` starts with the variables of `ingress` in its environment."""
    assert load({"ASSET_SYNC_SECRET__A": "x"}, None, needs_pim=False).warnings == ()


def test_settings_reserve_their_names() -> None:
    """A secret of this name would be the PIM's password, in both directions."""
    assert {"pim__password", "asset_sync_pim__password", "kafka__sasl_password"} <= reserved_names()
