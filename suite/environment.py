"""The facts about software and machine that every row carries."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("numpy", "scipy", "sympy", "torch", "torchdiffeq", "numba", "llvmlite"),
    *("diffrax", "jax", "dysts", "torchode"),
)
"""What a run may use, by the names under which it is imported too; those that are absent are not in a row."""

ALWAYS = ("numpy", "scipy", "sympy", "torch")
"""Packages that count for every row."""


@lru_cache(maxsize=1)
def host() -> Mapping[str, Any]:
    """What does not change while a process lives: version, revision, dirty, python, packages, cpu.

    revision and dirty are None for an installed package; in a checkout, an untracked file counts as dirty too.
    """
    root = Path(__file__).resolve().parents[1]
    revision = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    changes = _git(root, "status", "--porcelain") if revision else None
    return {
        "version": _version("odernn"),
        "revision": revision,
        "dirty": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "cpu": _cpu(),
    }


def environment(facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`host()`, or facts taken from it by another process, with gpu and threads of this one (None without torch)."""
    gpu, threads = None, None
    if "torch" in sys.modules:
        import torch

        threads = torch.get_num_threads()
        if torch.cuda.is_initialized():  # is_available would start the driver
            gpu = torch.cuda.get_device_name()
    return {**(facts or host()), "gpu": gpu, "threads": threads}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def version_of(module: str) -> str:
    """The version of the installed package behind a top-level module, which may bear another name; "" where none is. Of
    several, all, each with its name."""
    if (version := _version(module)) is not None:
        return version
    owners = sorted({*metadata.packages_distributions().get(module, ())})
    if len(owners) == 1:
        return _version(owners[0]) or ""
    return ", ".join(f"{owner} {_version(owner)}" for owner in owners)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
