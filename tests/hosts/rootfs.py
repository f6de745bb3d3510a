"""Root file systems of Debian, made once and kept in a cache that may be missing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

BASE = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "ca-certificates", "iproute2"),
    *("rsync", "sudo", "mosquitto", "udev", "procps"),
)
"""What a board has before anything is deployed; mosquitto is the one thing that a user may add."""


ESSENTIAL = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "hostname", "libc-bin", "login"),
    *("init-system-helpers", "libpam-modules", "libpam-runtime", "libstdc++6", "mount", "passwd", "sed", "tar"),
    "util-linux",
)
"""What every Debian has."""


def cache_folder() -> Path:
    """Where file systems are kept between runs: EDGE_FER_TEST_CACHE, or below the user's cache."""
    return Path(os.environ.get("EDGE_FER_TEST_CACHE") or Path.home() / ".cache" / "edge-fer" / "test-roots")


def needs(*programs: str) -> None:
    """Skip, loudly, where one of them is missing, or where this is not root."""
    packages = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ssh": "openssh-client"}
    if missing := [program for program in programs if shutil.which(program) is None]:
        wanted = " ".join(packages.get(program, program) for program in missing)
        pytest.skip(f"{', '.join(missing)} not installed (apt-get install {wanted}): deployment to a host NOT tested")
    if os.geteuid() != 0:
        pytest.skip("not root: deployment to a host NOT tested")


def rootfs(suite: str = "bookworm", machine: str = "amd64", packages: Sequence[str] = BASE) -> Path:
    """A folder with a whole system, never to be changed: lay something over it. Skips where it cannot be made."""
    wanted = hashlib.sha256(" ".join([suite, machine, *ESSENTIAL, *packages]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"host-{suite}-{machine}-{wanted}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    native = rootfs(suite, packages=packages) if machine != "amd64" else None
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            beside = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(beside, ignore_errors=True)
            if native:
                _unpack(beside, suite, machine, packages)
                _configure_like(native, beside)
            else:
                _install(beside, suite, packages)
            beside.rename(folder)
    return folder


def _install(folder: Path, suite: str, packages: Sequence[str]) -> None:
    # Not started at boot: these hosts share the loopback of this machine.
    masked = 'for unit in mosquitto ssh; do ln -sf /dev/null "$1/etc/systemd/system/$unit.service"; done'
    _mmdebstrap(folder, suite, "--variant=minbase", f"--include={','.join(packages)}", f"--customize-hook={masked}")


def _unpack(folder: Path, suite: str, machine: str, packages: Sequence[str]) -> None:
    """Without running what a package does when it is installed, which takes minutes where each program is emulated."""
    wanted = [*ESSENTIAL, *packages]
    _mmdebstrap(folder, suite, "--variant=extract", f"--arch={machine}", f"--include={','.join(wanted)}")


def _configure_like(native: Path, folder: Path) -> None:
    """Give it what the installation of the same packages left behind elsewhere: users, alternatives, keys, links.

    None of that depends on the architecture; the cache of the dynamic linker does, and is not taken.
    """
    for name in ("etc", "root", "var"):
        shutil.rmtree(folder / name)  # what packages unpack there is in the other one, too
        (folder / name).mkdir()
        copy = ["cp", "-a", "--remove-destination", f"{native / name}/.", str(folder / name)]
        subprocess.run(copy, check=True)  # with owners and links as they are
    (folder / "etc/ld.so.cache").unlink(missing_ok=True)
    for where, folders, files in os.walk(native / "usr"):
        here = folder / Path(where).relative_to(native)
        for name in (*folders, *files):
            link = Path(where, name)
            if link.is_symlink() and here.is_dir() and not os.path.lexists(here / name):
                (here / name).symlink_to(link.readlink())


def _mmdebstrap(folder: Path, suite: str, *options: str) -> None:
    done = subprocess.run(
        ["mmdebstrap", "--mode=root", *options, suite, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason")
        pytest.skip(f"no {suite} system could be made ({last}): deployment to a host NOT tested")


def wait_until(condition: object, timeout_s: float, what: str) -> None:
    """Until `condition()` holds; AssertionError with `what` after so many seconds, which only ends a hang."""
    until_s = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)
