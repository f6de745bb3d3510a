"""Reads the archive of a bundle, trusting nothing in it but what its signed manifest lists."""

import hashlib
import os
import tarfile
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, Optional, Tuple

from deploy.release.errors import ReleaseError, UnavailableError
from deploy.release.manifest import Entry, Manifest

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
LARGEST = {MANIFEST: 16_000_000, SIGNATURE: 16_000}
"""In bytes: these are read before anything is known of the bundle."""

_CHUNK = 1 << 20


class Bundle:
    """A bundle that is open; a context manager."""

    def __init__(self, path: Path) -> None:
        """UnavailableError where there is no such file, ReleaseError where it is no bundle."""
        self.path = path
        self._tar: Optional[tarfile.TarFile] = None
        try:
            self._tar = tarfile.open(str(path), "r:")  # noqa: SIM115 - closed in `close`
            self.manifest = self._head(MANIFEST)
            self.signature = self._head(SIGNATURE)
        except tarfile.TarError as err:
            self.close()
            raise ReleaseError(f"{path}: no bundle ({err}): send it again, or build it again") from err
        except OSError as err:
            self.close()
            raise UnavailableError(f"{path}: cannot be read ({err.strerror or err})") from err
        except ReleaseError:
            self.close()
            raise

    def __enter__(self) -> "Bundle":  # noqa: PYI034 - typing of 3.6 has no Self
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._tar is not None:
            self._tar.close()

    def unpack(self, manifest: Manifest, folder: Path, landed: Callable[[Entry, Path], None]) -> None:
        """Write each file below `folder`; `landed` is told of each whose bytes are those that the manifest lists.

        ReleaseError where the archive holds anything else, or not all.
        """
        listed: Dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
        try:
            for member, content in self._members():
                entry = listed.pop(member.name, None)
                if entry is None:
                    raise self._damaged(f"{member.name!a} is not in its manifest, or is there twice")
                landed(entry, self._write(member, content, entry, folder))
        except tarfile.TarError as err:
            raise self._damaged(str(err)) from err
        if listed:
            missing = sorted(listed)
            others = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise self._damaged(
                f"{missing[0]}{others} {'are' if others else 'is'} missing: it is cut off, or was changed"
            )

    def _head(self, name: str) -> bytes:
        member, content = next(self._members(), (None, None))
        if member is None or content is None or member.name != name:
            raise ReleaseError(f"{self.path}: no edge-fer bundle: {name} is not where it must be")
        if member.size > LARGEST[name]:
            raise ReleaseError(f"{self.path}: {name} has {member.size} bytes, {LARGEST[name]} are allowed")
        data = content.read(LARGEST[name])
        if len(data) != member.size:
            raise self._damaged(f"{name} is cut off")
        return data

    def _members(self) -> Iterator[Tuple[tarfile.TarInfo, Optional[IO[bytes]]]]:
        """From where the last call ended."""
        assert self._tar is not None  # noqa: S101 - set by the constructor, or it raised
        while True:
            member = self._tar.next()
            if member is None:
                return
            self._tar.members = []  # type: ignore[attr-defined] # it would remember thousands
            yield member, self._tar.extractfile(member) if member.isreg() else None

    def _write(self, member: tarfile.TarInfo, content: Optional[IO[bytes]], entry: Entry, folder: Path) -> Path:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.link:
            if not member.issym() or member.linkname != entry.link:
                raise self._damaged(f"{entry.path} is not the link to {entry.link} of its manifest")
            os.symlink(entry.link, str(path))
            return path
        if content is None or member.size != entry.size:
            raise self._damaged(f"{entry.path} is no file of {entry.size} bytes, as its manifest has it")
        digest = hashlib.sha256()
        fd = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, entry.mode)
        with os.fdopen(fd, "wb") as file:
            for chunk in iter(lambda: content.read(_CHUNK), b""):
                digest.update(chunk)
                file.write(chunk)
            os.fchmod(file.fileno(), entry.mode)
        if digest.hexdigest() != entry.sha256:
            raise self._damaged(f"the sha256 of {entry.path} is not that of its manifest")
        return path

    def _damaged(self, what: str) -> ReleaseError:
        return ReleaseError(f"{self.path}: {what}. Nothing was changed; send the bundle again, or build it again")
