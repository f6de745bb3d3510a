"""A folder for what takes long to make: userlands of Debian, qemu, unpacked wheels. It may be missing."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

CACHE_VARIABLE = "EDGE_FER_TEST_CACHE"
DEFAULT_CACHE = Path.home() / ".cache" / "edge-fer" / "test-roots"

UNUSED_DAYS = 14.0
"""An older version of an entry that nobody used for so long is thrown away."""

LIMIT_S = 300.0
"""For one program that fetches something."""

UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Connection timed out|Network is unreachable"
    r"|Failed to establish a new connection|Max retries exceeded|Name or service not known|Connection refused"
    r"|Temporary failure in name resolution|Could not handshake|Unable to connect"
)

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class Unavailable(Exception):  # noqa: N818 - it is no error of the code under test
    """This machine cannot do it; the text says what it lacks, and how it gets it."""


def cache_folder() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)


def cached(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """The entry of this name that was made by this recipe. `make` fills an empty folder, which is renamed when whole.

    Several threads and processes may ask at the same time.
    """
    cache = cache_folder()
    target = cache / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with _locks[target.name]:
        if not target.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
            try:
                beside.chmod(0o755)
                make(beside)
                _publish(beside, target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            _clear(cache, name, keep=target)
        with suppress(PermissionError):  # somebody else's, who keeps it
            os.utime(target)
    return target


def fetch_by(command: Sequence[str], what: str, *, cures: dict[str, str] | None = None) -> None:
    """Run a program that fetches `what`. Unavailable where nothing can be reached, or for a reason with a cure here.

    `cures` tells by a part of what the program says what this machine lacks.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    except FileNotFoundError as err:
        raise Unavailable(f"{what}: {command[0]} is missing: apt-get install {command[0]}") from err
    except subprocess.TimeoutExpired as err:
        raise Unavailable(f"{what}: {command[0]} has not ended within {LIMIT_S:.0f} s") from err
    if done.returncode == 0:
        return
    for sign, cure in (cures or {}).items():
        if sign in done.stdout:
            raise Unavailable(f"{what}: {cure}")
    if found := UNREACHABLE.search(done.stdout):
        raise Unavailable(f"{what}: the registry cannot be reached ({command[0]} says: {found[0]})")
    last = "\n".join(done.stdout.splitlines()[-20:])
    raise RuntimeError(f"{what}: {' '.join(command)}\nended with {done.returncode}:\n{last}")


def _publish(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # somebody else was quicker otherwise, and made the same
            raise


def _clear(cache: Path, name: str, keep: Path) -> None:
    """Throw away what was made by other recipes and is not used any more, and what a killed run left."""
    oldest_s = time.time() - UNUSED_DAYS * 86_400
    for path in [*cache.glob(f"{name}-{'[0-9a-f]' * 16}"), *cache.glob(f".{name}-*")]:
        if path != keep and path.stat().st_mtime < oldest_s:
            shutil.rmtree(path, ignore_errors=True)
