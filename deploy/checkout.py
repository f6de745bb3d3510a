"""The checkout that is deployed from: its files, its commit, and the time that all built from it carries."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from edge_fer.errors import UnavailableError, UsageError

PROJECT = Path(__file__).parent.parent

EARLIEST_S = 315_532_800
"""1980-01-01, before which zip files know no time."""

_LATEST_S = 4_102_444_800  # 2100-01-01


def source_files(root: Path, *places: str) -> list[str]:
    """Files below these files and folders of a checkout, sorted: what git tracks, and new ones that it does not ignore.

    So no build folder, cache or fetched file is among them. Without a `.git`, all but caches and hidden files.
    UnavailableError where git is missing or refuses.
    """
    if (root / ".git").exists():
        listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *places)
        names = {name for name in listed.split("\0") if name}
        return sorted(name for name in names if (root / name).is_file())
    found: set[str] = set()
    for place in places:
        path = root / place
        below = path.rglob("*") if path.is_dir() else [path]
        found.update(file.relative_to(root).as_posix() for file in below if file.is_file())
    return sorted(name for name in found if not any(_left_out(part) for part in name.split("/")))


def commit(root: Path, *places: str) -> str:
    """The commit that these places of a checkout are of; "" where they were changed since, or there is no git."""
    if not (root / ".git").exists():
        return ""
    if _git(root, "status", "--porcelain", "--untracked-files=all", "--", *places):
        return ""
    return _git(root, "rev-parse", "HEAD").strip()


def build_time_s(root: Path, environ: Mapping[str, str] = os.environ) -> int:
    """Unix time that what is built carries: SOURCE_DATE_EPOCH, else that of the last commit, else the year 1980."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if text:
        if not (text.isascii() and text.isdecimal() and EARLIEST_S <= int(text) < _LATEST_S):
            raise UsageError(
                f"SOURCE_DATE_EPOCH: found {text!r}; use a Unix time in seconds from {EARLIEST_S} (1980) to 2100"
            )
        return int(text)
    if not (root / ".git").exists():
        return EARLIEST_S
    return max(EARLIEST_S, int(_git(root, "log", "-1", "--format=%ct")))


def without_another_git(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which git takes the folder that it is told of: a hook of git names its own."""
    named = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    return {name: value for name, value in environ.items() if name not in named}


def _left_out(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__" or part.endswith((".pyc", ".egg-info"))


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        environment = without_another_git(os.environ)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as err:
        raise UnavailableError(f"git cannot be started ({err.strerror}): apt-get install git") from err
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UnavailableError(f"{root}: git {arguments[0]} failed: {said[0]}")
    return done.stdout
