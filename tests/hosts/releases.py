"""Bundles for the tests: releases that are well, and one that is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.board import load_board
from deploy.bundle import build_bundle
from deploy.checkout import PROJECT, source_files

BUILT_FROM = ("edge_fer", "systemd", "docs", "deploy", "pyproject.toml", "README.md", "LICENSE")


def checkout(to: Path, change: Callable[[Path], None] = lambda _root: None) -> Path:
    """A copy of this one, changed."""
    for name in source_files(PROJECT, *BUILT_FROM):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, to / name)
    for pattern in ("edge_fer/models/face_detection_*.tflite", "edge_fer/sample/*.mp4"):
        for file in PROJECT.glob(pattern):
            shutil.copy2(file, to / file.relative_to(PROJECT))
    change(to)
    return to


def never_well(root: Path) -> None:
    """It passes every check before the switch, and ends soon after it has started."""
    command = root / "edge_fer/commands/run.py"
    start = "    log_to_stderr(verbose=verbose)\n"
    text = command.read_text()
    assert text.count(start) == 1
    error = "    from edge_fer.errors import UnavailableError\n\n    raise UnavailableError('this release is broken')\n"
    command.write_text(text.replace(start, start + error))


class Bundles:
    """Built when they are first asked for, in a folder of the session."""

    def __init__(self, folder: Path, board: str) -> None:
        self.folder, self.board, self.system = folder, load_board(board), "debian-12"
        self.key = folder / "deploy_key"
        self._built: dict[str, Path] = {}

    def well(self, version: str) -> Path:
        """A release of this checkout under another version."""
        return self._build(version, PROJECT, version)

    def broken(self) -> Path:
        """One that fails its health gate."""
        root = self.folder / "broken"
        return self._build("broken", root if root.exists() else checkout(root, never_well), "9.9.9")

    def signed_by(self, key: Path, version: str) -> Path:
        """The same by another key."""
        return self._build(f"{version}-{key.name}", PROJECT, version, key)

    def _build(self, name: str, root: Path, version: str, key: Path | None = None) -> Path:
        if name not in self._built:
            system = self.board.system(self.system)
            out = self.folder / name
            self._built[name] = build_bundle(
                self.board, system, out=out, key=key or self.key, version=version, root=root
            )
        return self._built[name]


def tampered(bundle: Path, to: Path) -> Path:
    """The same bundle, one byte of its largest wheel changed."""
    to.write_bytes(bundle.read_bytes())
    with to.open("r+b") as file:
        file.seek(to.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    return to


def configuration(port: int, *, node: str = "lab", camera: str = "sample:?loop=1&realtime=1", more: str = "") -> str:
    """Of a daemon that shows the sample clip for ever to a broker on loopback."""
    return "\n".join(
        [
            f'node = "{node}"',
            "telemetry_s = 0.5",
            f'broker.url = "mqtt://127.0.0.1:{port}"',
            "[camera.front]",
            f"uri = {json.dumps(camera)}",
            more,
            "",
        ]
    )
