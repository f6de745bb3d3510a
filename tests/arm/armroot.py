"""Userlands of arm64 and the emulator that runs their programs, from Debian's signed archive by mmdebstrap.

Nothing is installed and no chroot is entered: qemu reads libraries from the folder, the kernel is this machine's.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from armcache import Unavailable, cached, fetch_by

QEMU_SUITE = "trixie"
"""Its qemu 10.0 runs LiteRT; under bookworm's 7.2 an interpreter of LiteRT 2.3.0 crashes when it is made."""

RECIPE = "2"
"""To be raised when the way of building changes."""


@dataclass(frozen=True, slots=True)
class Userland:
    """A release of Debian for arm64 with its Python, and no other packages than that needs."""

    suite: str
    python: str  # "3.11"
    glibc: str  # "2.36"

    @property
    def tag(self) -> str:
        """Of wheels that are built for its Python."""
        return "cp" + self.python.replace(".", "")

    def folder(self) -> Path:
        """Where it is unpacked; Unavailable where it is not and cannot be fetched."""
        packages = f"python{self.python}-minimal,libpython{self.python}-stdlib,libstdc++6,libgcc-s1"
        return _extracted(f"arm64-{self.suite}", self.suite, packages, "--arch=arm64")


BULLSEYE = Userland("bullseye", "3.9", "2.31")
BOOKWORM = Userland("bookworm", "3.11", "2.36")
TRIXIE = Userland("trixie", "3.13", "2.41")


def qemu() -> Path:
    """The emulator, a static program; the same on every machine, whatever it has installed."""
    return _extracted("qemu", QEMU_SUITE, "qemu-user", only="usr/bin/qemu-aarch64") / "qemu-aarch64"


def _extracted(name: str, suite: str, packages: str, *options: str, only: str = "") -> Path:
    """Packages of a suite and what they depend on, unpacked; of all their files one, where `only` names it."""

    def make(target: Path) -> None:
        _check_machine(f"Debian {suite}")
        root = target / "root" if only else target
        command = ["mmdebstrap", "--mode=root", "--variant=extract", f"--include={packages}", *options]
        # The mirrors drop the security updates of an old release before its packages. Nothing here meets a network.
        no_updates = r'--setup-hook=sed -i "/security\|updates/d" "$1/etc/apt/sources.list"'
        fetch_by([*command, no_updates, suite, str(root)], f"Debian {suite}", cures=_cures(suite))
        if only:
            (root / only).rename(target / Path(only).name)
            shutil.rmtree(root)
        elif not (root / "lib").exists():
            (root / "lib").symlink_to("usr/lib")  # made by the scripts of a package, which nobody ran

    return cached(name, "\n".join([RECIPE, suite, packages, *options, only]), make)


def _check_machine(what: str) -> None:
    """Unavailable with all that is missing to build it."""
    missing = [] if shutil.which("mmdebstrap") else ["mmdebstrap is missing: apt-get install mmdebstrap"]
    if os.geteuid():
        missing.append("only root may unpack it: run the tests as root once, the cache serves everybody then")
    if missing:
        raise Unavailable(f"{what}: {'; '.join(missing)}")


def _cures(suite: str) -> dict[str, str]:
    keyring = "debian-archive-keyring is missing or too old to know its key: apt-get install debian-archive-keyring"
    return {
        "NO_PUBKEY": keyring,
        "is not signed": keyring,
        "does not have a Release file": f"the mirror has no {suite} any more",
    }
