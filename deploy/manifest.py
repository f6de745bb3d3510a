"""manifest.json of a bundle: what it is for, and every file in it with its hash."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.board import Board, System
from edge_fer.errors import UnavailableError

SCHEMA = 1
NAME = "edge-fer"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"

_MOST_BYTES = 16_000_000  # a manifest of 100,000 files


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of a bundle."""

    path: str
    sha256: str
    size_bytes: int
    mode: int  # 0o644 or 0o755


@dataclass(frozen=True, slots=True)
class PackedLink:
    """A symbolic link of a bundle."""

    path: str
    link: str  # relative, and never out of the bundle


def requirements(board: Board, system: System) -> dict[str, Any]:
    """The part of a manifest that says where a bundle fits: known before it is built."""
    return {
        "schema": SCHEMA,
        "name": NAME,
        "board": board.key,
        "board_name": board.name,
        "compatible": list(board.compatible),
        "models": list(board.models),
        "system": system.key,
        "system_name": system.name,
        "machine": board.machine,
        "glibc": system.glibc,
        "systemd": system.systemd,
        "python": system.python,
        "python_source": system.python_source,
        "environment": dict(board.environment),
        "drop_ins": list(system.drop_ins),
    }


def manifest_bytes(
    board: Board,
    system: System,
    *,
    version: str,
    commit: str,
    built_unix_s: int,
    unpacked_bytes: int,
    members: Iterable[PackedFile | PackedLink],
) -> bytes:
    """The content of manifest.json; `members` are listed in the order in which they are packed."""
    manifest = requirements(board, system) | {
        "version": version,
        "commit": commit,
        "built_unix_s": built_unix_s,
        "unpacked_bytes": unpacked_bytes,
        "files": [_entry(member) for member in members],
    }
    return (json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def release_id(version: str, manifest: bytes) -> str:
    """The name of a release: its version, and which of all bundles of that version it is."""
    return f"{version}-{hashlib.sha256(manifest).hexdigest()[:12]}"


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle, its signature not checked; UnavailableError where the file is none."""
    try:
        manifest = json.loads(_manifest_of(bundle))
    except ValueError as err:
        raise UnavailableError(f"{bundle}: its {MANIFEST} is damaged ({err})") from err
    if not isinstance(manifest, dict) or manifest.get("name") != NAME or manifest.get("schema") != SCHEMA:
        raise UnavailableError(f"{bundle}: not a bundle of {NAME} of schema {SCHEMA}; build it again")
    return manifest


def release_of(bundle: Path) -> str:
    """The name that the release in a bundle has on a board; UnavailableError as `read_manifest`."""
    return release_id(str(read_manifest(bundle)["version"]), _manifest_of(bundle))


def _manifest_of(bundle: Path) -> bytes:
    try:
        with tarfile.open(bundle, "r:") as archive:
            first = archive.next()
            content = archive.extractfile(first) if first and first.name == MANIFEST else None
            if content is None or first is None or first.size > _MOST_BYTES:
                raise UnavailableError(f"{bundle}: not a bundle (it does not begin with {MANIFEST})")
            return content.read()
    except tarfile.TarError as err:
        raise UnavailableError(f"{bundle}: not a bundle ({err})") from err
    except OSError as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(f"{bundle}: cannot be read ({err.strerror or err})") from err


def sha256_of(path: Path) -> str:
    """Of a file's bytes, read in pieces: files here may be larger than memory is free."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _entry(member: PackedFile | PackedLink) -> dict[str, str | int]:
    if isinstance(member, PackedLink):
        return {"path": member.path, "link": member.link}
    return {"path": member.path, "sha256": member.sha256, "size": member.size_bytes, "mode": f"{member.mode:04o}"}
