"""The system that the demo, the tests, the benches and the chaos run share."""

import sys
from pathlib import Path

import pytest

from service.playground.local_system import LocalSystem, LoggedProcess
from service.playground.pim.tokens import Tokens


def system(folder: Path, suffix: str = "x") -> LocalSystem:
    return LocalSystem("127.0.0.1:1", "http://127.0.0.1:2", Tokens(), folder, suffix=suffix)


def test_a_replica_inherits_no_setting_and_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASSET_SYNC_WINDOW__MAX_ASSETS", "HTTPS_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.setenv(name, "of the caller")
    monkeypatch.setenv("LANG", "C")

    environ = system(tmp_path).environ(PIM__PASSWORD="other")

    assert "of the caller" not in environ.values()
    assert environ["LANG"] == "C"
    assert environ["ASSET_SYNC_PIM__PASSWORD"] == "other"
    assert environ["ASSET_SYNC_KAFKA__GROUP_ID"] == "group.x"


def test_without_a_suffix_the_names_are_the_defaults(tmp_path: Path) -> None:
    made = system(tmp_path, suffix="")

    names = (made.group, made.events, made.outcomes, made.dead_letters)

    assert names == (
        "asset-sync",
        "dam.asset-changes",
        "pim.asset-outcomes",
        "pim.asset-dead-letters",
    )


def test_the_log_of_a_replica_tells_its_address(tmp_path: Path) -> None:
    line = '{"event": "http.listening", "port": 8080}'
    with LoggedProcess([sys.executable, "-c", f"print('{line}')"], {}, tmp_path / "log") as process:
        assert process.url in {None, "http://127.0.0.1:8080"}
        process.wait()

    assert process.url == "http://127.0.0.1:8080"
