"""The wheel and the source archive: built, installed elsewhere and run, with complete metadata."""

import email
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

from service import __version__
from service.contracts.documents import HOME, page
from tools.readme_links import LINK, absolute
from tools.release_version import PLACES, problems

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("package")]

ROOT = Path(__file__).resolve().parents[2]
BUILD = [sys.executable, "-m", "hatchling", "build"]
COMMANDS = {
    ("--help",): "pim-simulator",
    ("schema", "outcomes"): "OutcomeData",
    ("schema", "sources"): "properties",
    ("mapping", "new", "bynder"): "sources:",
}
"""Commands that need files of the package, and what each prints."""


def run(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder, and return what it prints."""
    environment = {"PATH": os.defpath, "HOME": str(folder)}
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source archive of the project."""
    folder = tmp_path_factory.mktemp("archive")
    run(*BUILD, "-t", "sdist", "-d", folder, folder=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as opened:
        opened.extractall(folder, filter="data")
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(archive: Path) -> Path:
    """A wheel that is built from the source archive, as an installer would do it."""
    run(*BUILD, "-t", "wheel", folder=archive)
    (built,) = (archive / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What an index shows of the package."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith("METADATA"))
        return email.message_from_bytes(opened.read(name))


def test_it_is_installed_and_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has its dependencies, but not this project."""
    environment = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    python = environment / "bin" / "python"
    with_pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-index",
    ]
    run(*with_pip, "--no-deps", wheel, folder=tmp_path)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    for words, printed in COMMANDS.items():
        assert printed in run(environment / "bin" / "asset-sync", *words, folder=tmp_path)
    where = run(python, "-c", "import service; print(service.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)


def test_the_archive_holds_what_the_tests_need(archive: Path) -> None:
    """So that a distributor can build and test it."""
    for name in ("Makefile", "requirements.lock", "tests/conftest.py", "docs/contract.md"):
        assert (archive / name).is_file()


def test_the_metadata_is_complete(metadata: Message) -> None:
    """Name, version, licence, addresses and the supported versions of Python."""
    assert (metadata["Name"], metadata["Version"]) == ("asset-sync", __version__)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    urls = dict(text.split(", ") for text in metadata.get_all("Project-URL", []))
    assert urls.keys() >= {"Homepage", "Documentation", "Changelog"}
    assert "Programming Language :: Python :: 3.14" in metadata.get_all("Classifier", [])


def test_the_description_links_to_absolute_addresses(metadata: Message) -> None:
    """An index shows README.md without its neighbours."""
    description = str(metadata.get_payload())
    assert f"]({HOME}/docs/contract.md)" in description
    assert not LINK.search(description)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](a/b)", f"[a]({HOME}/a/b)"),
        ("![a](a.png) [b](b.md#c)", f"![a]({HOME}/a.png) [b]({HOME}/b.md#c)"),
        ("[a](#here) [b](https://b.example) [c](mailto:c@d.example)",) * 2,
    ],
)
def test_only_relative_links_are_changed(text: str, expected: str) -> None:
    """Those to a section or another site already lead somewhere."""
    assert absolute(text, HOME) == expected


def test_a_release_wants_everything_to_agree_with_its_tag(tmp_path: Path) -> None:
    """Versions, changelog and address; at present the last two do not."""
    found = list(problems(f"v{__version__}"))
    assert [text.split()[0] for text in found] == ["CHANGELOG.md", "The"]
    assert len(list(problems("v9.9.9"))) == 5

    for name in (*PLACES, "CHANGELOG.md", "service/contracts/documents.py"):
        text = (ROOT / name).read_text().replace("(not released)", "(2026-12-01)")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(".example", ".org"))
    assert list(problems(f"v{__version__}", tmp_path)) == []


def test_every_action_of_the_release_is_pinned_by_commit() -> None:
    """A tag of an action can be moved to other code, which would sign in our name."""
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    used = re.findall(r"uses: (\S+)(.*)", workflow)
    assert len(used) > 10
    for action, comment in used:
        assert re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    jobs = yaml.safe_load(workflow)["jobs"]
    assert all("permissions" in job for job in jobs.values())


def test_the_address_of_the_project_stands_everywhere_alike() -> None:
    """In the package, the chart, the image and the messages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "deploy/helm/asset-sync/Chart.yaml").read_text())
    image = re.search(r'opencontainers.image.url="([^"]+)"', (ROOT / "Dockerfile").read_text())
    assert image is not None
    assert project["urls"]["Homepage"] == chart["home"] == image[1] == HOME
    assert page("reasons.md", "timeout").startswith(f"{HOME}/docs/")
