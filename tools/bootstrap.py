"""Set up `.venv` from the lock, with nothing but the standard library (see the Makefile).

Runs under the first Python that `make` found; needs 3.11 to 3.14. A stamp by the lock's hash
makes a second run instant and offline.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "asset-sync.stamp"
OLDEST, NEWEST = (3, 11), (3, 14)


def main() -> int:
    """Make the environment; 0 where it stands."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"asset-sync needs Python 3.11 to 3.14; {sys.executable} is {found}.\n"
            "Install one, or name it: make PYTHON=/path/to/python3.12 …",
            file=sys.stderr,
        )
        return 1
    wanted = _fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted and _python().exists():
        return 0
    print("Setting up .venv: about 70 packages, 120 MB to fetch, once …", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        pip = _make_venv()
        _run([*pip, "install", "--require-hashes", "-r", str(LOCK)])
        _run([*pip, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    except subprocess.CalledProcessError as error:
        print(f"Set-up failed ({error.returncode}); the lines above say why.", file=sys.stderr)
        return 1
    STAMP.write_text(wanted)
    return 0


def _fingerprint() -> str:
    digest = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    return f"{digest.hexdigest()} {sys.version_info[:2]} {ROOT}"


def _python() -> Path:
    folder = "Scripts" if os.name == "nt" else "bin"
    return VENV / folder / "python"


def _make_venv() -> list[str]:
    """Make the environment; the command that installs into it."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian leaves it out
    except ImportError:
        return _make_venv_without_pip()
    _run([sys.executable, "-m", "venv", str(VENV)])
    return [str(_python()), "-m", "pip", "--disable-pip-version-check"]


def _make_venv_without_pip() -> list[str]:
    try:
        import pip  # noqa: F401, PLC0415 - the outer one installs into the inner
    except ImportError:
        return _make_venv_otherwise()
    _run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(_python())]


def _make_venv_otherwise() -> list[str]:
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--seed", "--python", sys.executable, str(VENV)])
    elif virtualenv := shutil.which("virtualenv"):
        _run([virtualenv, "--python", sys.executable, str(VENV)])
    else:
        print("This Python has neither ensurepip nor pip: install python3-venv.", file=sys.stderr)
        raise subprocess.CalledProcessError(1, "venv")
    return [str(_python()), "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    """Run with a clean pip: the caller's index, proxy and certificates are kept."""
    environ = {**os.environ, "PIP_USER": "0", "PIP_QUIET": "1"}
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"):
        environ.pop(name, None)
    subprocess.run(command, check=True, env=environ)


if __name__ == "__main__":
    sys.exit(main())
