"""Kernel, initramfs and disk of a small arm64 Debian with a systemd, an sshd and a camera; made once, then kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import arm64_build
from arm64_build import BINFMT, RELEASE

PROGRAMS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "unshare": "util-linux", "ssh-keygen": "openssh-client"}
"""What makes it, and the packages that have it."""


class Image(NamedTuple):
    """What a machine is started from."""

    kernel: Path
    initramfs: Path
    disk: Path
    key: Path  # private, of root
    host_key: str  # "ssh-ed25519 ..." of the sshd


def cache_folder() -> Path:
    """Where root file systems of tests are kept: EDGE_FER_TEST_CACHE, or a folder of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EDGE_FER_TEST_CACHE") or Path(cache) / "edge-fer" / "test-roots")


def why_it_cannot_be_built() -> str | None:
    """What this machine lacks to make the image, with the cure; None if it has all, or the image already."""
    if _kept().is_dir():
        return None
    if os.geteuid() != 0:
        return "the image of the arm64 machine is made by root only"
    wanted = {
        "mmdebstrap": "mmdebstrap",
        "mke2fs": "e2fsprogs",
        "unshare": "util-linux",
        "ssh-keygen": "openssh-client",
    }
    missing = sorted(package for program, package in wanted.items() if shutil.which(program) is None)
    if not (BINFMT / "qemu-aarch64").exists() and shutil.which("update-binfmts") is None:
        missing += ["binfmt-support", "qemu-user-static"]
    return f"apt-get install {' '.join(missing)}" if missing else None


def arm64_image() -> Image:
    """The image, made if it is not in the cache: 5 minutes, and 150 MB of Debian's packages."""
    kept = _kept()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{kept.name}-", dir=kept.parent) as beside:
                arm64_build.build(Path(beside)).rename(kept)
    kernel, initramfs, disk, key, host_key = (
        kept / name for name in ("vmlinuz", "initramfs", "disk.ext4", "key", "host_key.pub")
    )
    return Image(kernel, initramfs, disk, key, host_key.read_text().strip())


def _kept() -> Path:
    """The folder in the cache; another one for each recipe."""
    recipe = hashlib.sha256(Path(arm64_build.__file__).read_bytes()).hexdigest()[:12]
    return cache_folder() / f"arm64-machine-{RELEASE}-{recipe}"
