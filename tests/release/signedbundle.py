"""Bundles as a checkout builds them, but small: a daemon that only says what it would do, and units to match."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deploy.release import ed25519
from deploy.release.trust import Key, parse_key

PYTHON = "{}.{}".format(*sys.version_info)
MADE_UNIX_S = 1_767_600_000  # 2026-01-05

DAEMON = """
import json, os, subprocess, sys
import helper
BEHAVIOUR = open(os.path.join(os.path.dirname(__file__), "behaviour.txt")).read().split()
command, *words = sys.argv[1:]
if command == "doctor":
    config = open(words[1]).read()
    def finding(check, result, found="", cure=""):
        return {"check": check, "about": "", "result": result, "found": found, "cure": cure}
    told = [
        finding("python", "ok"), finding("packages", "ok"), finding("runtime", "ok"),
        finding("inference", "failed", "the process was ended by SIGILL", "another build")
        if "no-inference" in BEHAVIOUR else finding("inference", "ok"),
        finding("configuration", "failed", f"{words[1]}: [broker] url: no host", "mqtt://HOST") if "wrong" in config
        else finding("configuration", "ok"),
        finding("camera", "failed", "/dev/video0 is missing", "plug it in"),
    ]
    print(json.dumps(told))
    sys.exit(1)
if command == "check-config":
    if "old-schema" in BEHAVIOUR and "new_key" in open(words[0]).read():
        print(f"edge-fer: {words[0]}: new_key: unknown key", file=sys.stderr)
        sys.exit(78)
    sys.exit(0)
if command == "children":
    told = {"python": sys.executable, "helper": helper.__file__, "environ": os.environ.get("OPENBLAS_CORETYPE")}
    for flags in ([], ["-I"]):
        code = "import helper; print(helper.__file__)"
        child = [sys.executable, *flags, "-c", code]
        done = subprocess.run(child, stdout=subprocess.PIPE, check=True)
        told["child " + " ".join(flags)] = done.stdout.decode().strip()
    print(json.dumps(told))
    sys.exit(0)
sys.exit("what is " + command)
"""

CONFIG = b"# made from the template\n[broker]\n"

UNITS = {
    "systemd/edge-fer.service": b"# of {release}\n[Service]\nExecStart=/opt/edge-fer/current/bin/edge-fer run\n"
    b"[Install]\nWantedBy=multi-user.target\n",
    "systemd/edge-fer-confirm.service": b"[Service]\nExecStart=/opt/edge-fer/edge-fer-release confirm\n"
    b"[Install]\nWantedBy=multi-user.target\n",
    "systemd/edge-fer-power-mode.socket": b"[Socket]\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
    "systemd/edge-fer-power-mode@.service": b"[Service]\nType=oneshot\n",
    "systemd/drop-ins/jetson-csi.conf": b"[Service]\nPrivateTmp=no\n",
    "systemd/drop-ins/credentials.conf": b"[Service]\nLoadCredential=mqtt-password\n",
    "systemd/tmpfiles.d/edge-fer.conf": b"z /sys/power - - - -\n",
    "systemd/udev/60-edge-fer.rules": b"SUBSYSTEM==hwmon\n",
    "systemd/polkit/50-edge-fer-power-mode.rules": b"polkit.addRule()\n",
}


class Member(NamedTuple):
    """A file of a bundle, or a link."""

    path: str
    data: bytes = b""
    link: str = ""
    mode: int = 0o644


class Signer:
    """A key pair."""

    def __init__(self, name: str) -> None:
        self._seed = hashlib.sha256(name.encode()).digest()
        half = hashlib.sha512(self._seed).digest()
        self._scalar = int.from_bytes(half[:32], "little") & (2**254 - 8) | 2**254
        self._prefix = half[32:]
        public = ed25519._compressed(ed25519._multiple(self._scalar, ed25519._BASE))
        blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", public))
        self.line = f"ssh-ed25519 {base64.b64encode(blob).decode()} {name}"
        self.public = public

    @property
    def key(self) -> Key:
        return parse_key(self.line, "test")

    def sign(self, message: bytes) -> bytes:
        """RFC 8032, section 5.1.6."""
        nonce = int.from_bytes(hashlib.sha512(self._prefix + message).digest(), "little") % ed25519._ORDER
        commitment = ed25519._compressed(ed25519._multiple(nonce, ed25519._BASE))
        challenge = int.from_bytes(hashlib.sha512(commitment + self.public + message).digest(), "little")
        return commitment + ((nonce + challenge * self._scalar) % ed25519._ORDER).to_bytes(32, "little")

    def signature(self, manifest: bytes) -> bytes:
        """manifest.sig."""
        told = {"key": self.line, "signature": base64.b64encode(self.sign(manifest)).decode()}
        return json.dumps(told).encode()


def wheel(files: Mapping[str, str | bytes]) -> bytes:
    """A wheel with these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def members(behaviour: str = "well", version: str = "0.1.0") -> list[Member]:
    """What is in a bundle."""
    daemon = wheel(
        {
            "edge_fer/__init__.py": "",
            "edge_fer/__main__.py": DAEMON,
            "edge_fer/behaviour.txt": f"{behaviour}\n",
            f"edge_fer-{version}.dist-info/METADATA": f"Name: edge-fer\nVersion: {version}\n",
        }
    )
    helper = wheel({"helper-1.data/purelib/helper.py": "", "helper-1.data/scripts/helper": "#!python\n"})
    units = [
        Member(path, data.replace(b"{release}", f"{version} {behaviour}".encode())) for path, data in UNITS.items()
    ]
    return [
        Member("config/edge-fer.toml", CONFIG),
        Member("sbom.cdx.json", b"{}\n"),
        *units,
        Member("docs/power.md", b"# Power\n"),
        Member("wheels/helper-1-py3-none-any.whl", helper),
        Member(f"wheels/edge_fer-{version}-py3-none-any.whl", daemon),
    ]


def manifest(parts: Iterable[Member], **changes: Any) -> bytes:
    """manifest.json of these; `changes` are keys that are otherwise."""
    told: dict[str, Any] = {
        "schema": 1, "name": "edge-fer", "version": "0.1.0", "commit": "", "board": "jetson-nano",
        "board_name": "NVIDIA Jetson Nano", "compatible": ["p3448"], "models": ["Jetson Nano"], "system": "jetpack-4",
        "system_name": "JetPack 4.6", "machine": "aarch64", "glibc": "2.27", "systemd": 237, "python": PYTHON,
        "python_source": "system", "environment": {"OPENBLAS_CORETYPE": "ARMV8"}, "drop_ins": ["jetson-csi"],
        "unpacked_bytes": 100_000, "built_unix_s": MADE_UNIX_S,
        "files": [entry(part) for part in parts],
    }  # fmt: skip
    return (json.dumps({**told, **changes}, sort_keys=True, indent=1) + "\n").encode()


def entry(part: Member) -> dict[str, Any]:
    """How a manifest lists it."""
    if part.link:
        return {"path": part.path, "link": part.link}
    digest = hashlib.sha256(part.data).hexdigest()
    return {"path": part.path, "sha256": digest, "size": len(part.data), "mode": f"{part.mode:04o}"}


def pack(path: Path, manifest_bytes: bytes, signature: bytes, parts: Iterable[Member]) -> Path:
    """The archive."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for part in (Member("manifest.json", manifest_bytes), Member("manifest.sig", signature), *parts):
            item = tarfile.TarInfo(part.path)
            item.mtime, item.mode = MADE_UNIX_S, part.mode
            if part.link:
                item.type, item.linkname = tarfile.SYMTYPE, part.link
            item.size = len(part.data)
            archive.addfile(item, io.BytesIO(part.data))
    return path


def bundle(folder: Path, signer: Signer, behaviour: str = "well", version: str = "0.1.0", **changes: Any) -> Path:
    """A whole bundle whose daemon behaves like that."""
    parts = members(behaviour, version)
    content = manifest(parts, version=version, **changes)
    name = hashlib.sha256(content).hexdigest()[:12]
    return pack(folder / f"edge-fer-{version}-{name}.tar", content, signer.signature(content), parts)


def release_of(path: Path) -> str:
    """The name of the release in a bundle."""
    with tarfile.open(path) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        content = file.read()
    return f"{json.loads(content)['version']}-{hashlib.sha256(content).hexdigest()[:12]}"
