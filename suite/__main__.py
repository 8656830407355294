"""`python -m odernn.suite` is the command line; `python3 suite` sets a fresh clone up first and then is too.

The set-up needs the standard library alone: it makes .venv beside this folder, installs the project there with pinned
versions, and goes on inside it. Every line is syntax that an old Python reads, so that it can say what it lacks. Longer
than most files because none of its parts may be imported from elsewhere.
"""

# ruff: noqa: E402 (sys.path is put right before anything is imported)
from __future__ import annotations

import sys

HERE = sys.path[0] if not __package__ else ""
if HERE and sys.path[0] == HERE and __name__ == "__main__":
    del sys.path[0]  # the folder of this script: no file in it may shadow the standard library

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "odernn-installed")
OLDEST = (3, 11)
COMMANDS = ("run", "status", "report", "list", "show", "new", "check", "merge", "compare", "-h", "--help", "--version")
NO_NETWORK = ("NewConnectionError", "Temporary failure in name resolution", "Name or service not known", "timed out",
              "Network is unreachable", "No matching distribution found", "getaddrinfo failed")  # fmt: skip


class SetUpError(Exception):
    """One sentence on why the project cannot be set up here."""


def check_python(version: tuple[int, int], which: Callable[[str], str | None] = shutil.which) -> None:
    """Raises `SetUpError` for a Python that is too old, naming a newer one if the machine has it."""
    if version >= OLDEST:
        return
    newer = [f"python3.{minor}" for minor in range(20, OLDEST[1] - 1, -1)]
    found = [name for name in newer if which(name)]
    hint = f"use {found[0]}, which is on this machine" if found else "install one and run this again with it"
    have, need = (f"{one[0]}.{one[1]}" for one in (version, OLDEST))
    raise SetUpError(f"this is Python {have} and odernn needs {need} or newer: {hint}.")


def fingerprint() -> str:
    """What the installation depends on, as a hash: this Python, this folder, pyproject.toml and constraints.txt."""
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def python() -> str:
    """The interpreter inside .venv."""
    return os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")


def installed() -> bool:
    """Whether .venv holds what `fingerprint` asks for."""
    try:
        with open(STAMP) as file:
            return file.read() == fingerprint() and os.path.exists(python())
    except OSError:
        return False


def set_up() -> None:
    """Make .venv and install the project in it, unless that is done. Raises `SetUpError`."""
    check_python(sys.version_info[:2])
    if installed():
        return
    started = time.time()
    if not os.path.exists(python()) or not _works():
        _make_venv()
    say("odernn: installing into .venv (once; PyTorch is large, so this can take minutes)")
    _install([python(), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
              "-c", os.path.join(ROOT, "constraints.txt"), "-e", f"{ROOT}[test]"])  # fmt: skip
    with open(STAMP, "w") as file:
        file.write(fingerprint())
    say(f"odernn: installed in {time.time() - started:.0f} s")


def say(line: str) -> None:
    """One line to stderr, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _works() -> bool:
    """Whether the interpreter in .venv starts, is of this version, and has pip."""
    probe = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.call([python(), "-c", probe], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _make_venv() -> None:
    package = f"python3.{sys.version_info[1]}-venv"
    lacking = f"this Python cannot make virtual environments; on Debian or Ubuntu: sudo apt install {package}"
    try:
        import ensurepip as ensurepip
        import venv
    except ImportError:
        raise SetUpError(lacking) from None
    say(f"odernn: making .venv with Python {sys.version_info[0]}.{sys.version_info[1]}")
    try:
        venv.create(VENV, clear=True, with_pip=True, symlinks=os.name != "nt")
    except subprocess.CalledProcessError:
        raise SetUpError(lacking) from None
    except OSError as error:
        raise SetUpError(f"{VENV} cannot be made: {error.strerror}.") from None


def _install(command: list[str]) -> None:
    """Run pip, showing what it is at; its own last words only where it fails."""
    lines: list[str] = []
    live = sys.stderr.isatty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith(("Collecting", "Installing", "Building", "  Downloading", "Downloading")):
            text = "  pip: " + " ".join(line.split())
            if live:
                width = shutil.get_terminal_size().columns - 1
                sys.stderr.write("\r\x1b[K" + text[:width])
                sys.stderr.flush()
            elif not line.startswith(" "):
                say(text[:110])
    status = process.wait()
    if live:
        sys.stderr.write("\r\x1b[K")
    if status == 0:
        return
    for line in lines[-12:]:
        say("  pip: " + line)
    if any(sign in line for line in lines for sign in NO_NETWORK):
        raise SetUpError("pip could not fetch the packages: connect to the network (or set PIP_INDEX_URL or "
                         "PIP_FIND_LINKS to where they are) and run this again.")  # fmt: skip
    raise SetUpError(f"pip failed with status {status}; its last lines are above.")


def arguments(given: list[str]) -> list[str]:
    """The command line for what followed `python3 suite`: a command as it is, else `run quick` with it."""
    return given if given and given[0] in COMMANDS else ["run", "quick", *given]


def start(command: list[str]) -> int:
    """Set up, then become .venv's Python with this command line. Returns only an exit status of failure."""
    try:
        set_up()
    except SetUpError as error:
        say(f"odernn: {error}")
        return 2
    except KeyboardInterrupt:
        say("\nodernn: interrupted; the same command goes on from here.")
        return 130
    # -P: the folder one happens to be in must not offer its suite/ or tasks/ for import.
    full = [python(), "-P", "-m", *command]
    if os.name == "nt":
        return subprocess.call(full)
    os.execv(full[0], full)


if __name__ == "__main__":
    if __package__:
        from .cli import main

        sys.exit(main())
    sys.exit(start(["odernn.suite", *arguments(sys.argv[1:])]))
