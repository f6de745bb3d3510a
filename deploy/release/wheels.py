"""Unzips wheels to where Python finds them, as pip does it, without pip."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Optional

from deploy.release.errors import ReleaseError

_INSTALLED = ("purelib", "platlib")
"""What of a wheel's .data folder is for site-packages; scripts, headers and other data nobody needs here."""


def install_wheel(wheel: Path, site: Path) -> None:
    """Unzip a wheel into site-packages. ReleaseError where a name leads elsewhere, or another wheel's file differs."""
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            for item in archive.infolist():
                target = _target(wheel, item.filename)
                if target is not None and not item.filename.endswith("/"):
                    _write(archive, item, site / target, wheel)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as err:
        raise ReleaseError(f"{wheel.name}: no wheel that can be unzipped ({err})") from err


def _target(wheel: Path, name: str) -> Optional[str]:
    """Where a file goes, below site-packages; None where it goes nowhere."""
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise ReleaseError(f"{wheel.name}: the file name {name!a} leads out of it")
    if not parts[0].endswith(".data"):
        return name
    if len(parts) > 2 and parts[1] in _INSTALLED:  # noqa: PLR2004 - x.data/purelib/FILE
        return "/".join(parts[2:])
    return None


def _write(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path, wheel: Path) -> None:
    unix_mode = item.external_attr >> 16
    if stat.S_ISLNK(unix_mode):
        raise ReleaseError(f"{wheel.name}: {item.filename} is a link; wheels hold files only")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        if archive.read(item) != path.read_bytes():
            raise ReleaseError(
                f"{wheel.name}: {item.filename} is in another wheel of this bundle too, and differs: one of the two "
                "packages must go"
            ) from None
        return
    with os.fdopen(fd, "wb") as file, archive.open(item) as content:
        shutil.copyfileobj(content, file, 1 << 20)
        os.fchmod(file.fileno(), 0o755 if unix_mode & 0o111 else 0o644)
