"""An environment of its own for the package `fer`, which never meets that of edge-fer."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from edge_fer.errors import UnavailableError

HERE = Path(__file__).parent
DONE = "installed.sha256"


def default_work() -> Path:
    """A folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-fer-peers"


def fer_python(work: Path, *, mtcnn: bool) -> Path:
    """Python of an environment with fer, made below `work` where it is not there yet (2 to 3 GB, minutes).

    UnavailableError where it cannot be made.
    """
    kinds = ["", "-mtcnn"] if mtcnn else [""]
    needs = [HERE / f"requirements{kind}.txt" for kind in kinds]
    alone = [HERE / f"requirements{kind}-no-deps.txt" for kind in kinds]
    folder = work / ("fer-mtcnn" if mtcnn else "fer")
    python, wanted = folder / "bin" / "python", _sha256([*needs, *alone])
    if python.exists() and (folder / DONE).exists() and (folder / DONE).read_text() == wanted:
        return python
    click.echo(f"making an environment for fer in {folder} ...", err=True)
    shutil.rmtree(folder, ignore_errors=True)  # half made, or of other versions
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", *_files(needs)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *_files(alone)])
    (folder / DONE).write_text(wanted)
    return python


def _files(paths: list[Path]) -> list[str]:
    return [word for path in paths for word in ("-r", str(path))]


def _sha256(paths: list[Path]) -> str:
    told = sys.version.encode() + b"".join(path.read_bytes() for path in paths)
    return hashlib.sha256(told).hexdigest()


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as err:
        raise UnavailableError(f"{command[0]}: {err.strerror}") from err
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnavailableError(f"the environment for fer cannot be made: {last}")
