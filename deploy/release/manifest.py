"""What a bundle says of itself."""

import hashlib
import json
import posixpath
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from deploy.release.errors import ReleaseError

SCHEMA = 1
FOLDERS = ("config", "docs", "python", "systemd", "wheels")
"""Where files of a bundle may be; everything else of a release is made on the board."""

FILES = ("sbom.cdx.json",)
MODES = {"0644": 0o644, "0755": 0o755}

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_VALUE = re.compile(r"[A-Za-z0-9_./:=,+@-]*")  # means nothing to a shell or to systemd
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")


class Entry(NamedTuple):
    """A file, or a link where `link` is set."""

    path: str
    sha256: str
    size: int
    mode: int
    link: str


class Manifest(NamedTuple):
    """A manifest that was read, and is of the form that it must have."""

    content: bytes
    fields: Mapping[str, Any]
    entries: Tuple[Entry, ...]

    @property
    def release(self) -> str:
        """The name of the release: its version, and what tells it from others of this version."""
        return f"{self.fields['version']}-{hashlib.sha256(self.content).hexdigest()[:12]}"

    @property
    def python(self) -> str:
        """Its version, as 3.10."""
        return str(self.fields["python"])

    @property
    def brings_python(self) -> bool:
        """Whether its Python is in the bundle."""
        return bool(self.fields["python_source"] == "standalone")

    @property
    def environment(self) -> Dict[str, str]:
        """What must be set where its programs run."""
        return dict(self.fields["environment"])

    @property
    def described(self) -> str:
        """For people."""
        return f"{self.release} for {self.fields['board']}, {self.fields['system']}"


def parse_manifest(content: bytes) -> Manifest:
    """ReleaseError, naming the key, where something is not as it must be."""
    try:
        fields = json.loads(content.decode("utf-8"))
    except ValueError as err:
        raise ReleaseError(f"manifest.json: no JSON ({err}): the bundle is damaged; build it again") from err
    if not isinstance(fields, dict) or fields.get("name") != "edge-fer":
        raise ReleaseError("manifest.json: not that of an edge-fer bundle")
    if fields.get("schema") != SCHEMA:
        raise ReleaseError(
            f"manifest.json: schema {fields.get('schema')!r}, this program knows {SCHEMA}: use the edge-fer-release "
            "of the checkout that built the bundle"
        )
    _check_fields(fields)
    entries = tuple(_entry(number, item) for number, item in enumerate(fields["files"]))
    _check_tree(entries)
    return Manifest(content, fields, entries)


def _check_fields(fields: Mapping[str, Any]) -> None:
    for key in ("version", "board", "system", "machine", "python"):
        if not isinstance(fields.get(key), str) or not _WORD.fullmatch(fields[key]):
            raise _wrong(key, fields.get(key), "a short word")
    if not _PYTHON.fullmatch(fields["python"]):
        raise _wrong("python", fields["python"], "a version as 3.10")
    if fields.get("python_source") not in ("system", "standalone"):
        raise _wrong("python_source", fields.get("python_source"), '"system" or "standalone"')
    if not re.fullmatch(r"\d+\.\d+", str(fields.get("glibc"))):
        raise _wrong("glibc", fields.get("glibc"), "a version as 2.31")
    if not isinstance(fields.get("unpacked_bytes"), int):
        raise _wrong("unpacked_bytes", fields.get("unpacked_bytes"), "a number of bytes")
    _check_lists(fields)


def _check_lists(fields: Mapping[str, Any]) -> None:
    environment = fields.get("environment")
    if not isinstance(environment, dict) or not all(
        _VARIABLE.fullmatch(name) and isinstance(value, str) and _VALUE.fullmatch(value)
        for name, value in environment.items()
    ):
        raise _wrong("environment", environment, "names in capitals and values without blanks and quotes")
    for key in ("compatible", "models", "drop_ins", "files"):
        if not isinstance(fields.get(key), list):
            raise _wrong(key, fields.get(key), "a list")
    for name in fields["drop_ins"]:
        if not isinstance(name, str) or not _WORD.fullmatch(name):
            raise _wrong("drop_ins", name, "names of files without .conf")


def _entry(number: int, item: object) -> Entry:
    where = f"files[{number}]"
    if not isinstance(item, dict):
        raise _wrong(where, item, "an object")
    path = item.get("path")
    if not isinstance(path, str) or not _is_inside(path):
        raise _wrong(f"{where}.path", path, f"a path below {', '.join(FOLDERS)}, without ..")
    link = item.get("link")
    if link is not None:
        if not isinstance(link, str) or not _stays_inside(path, link):
            raise _wrong(f"{where}.link", link, f"a relative path that stays below {path.split('/')[0]}")
        return Entry(path, "", 0, 0, link)
    sha256, size, mode = item.get("sha256"), item.get("size"), MODES.get(str(item.get("mode")))
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise _wrong(f"{where}.sha256", sha256, "64 hexadecimal digits")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _wrong(f"{where}.size", size, "a number of bytes")
    if mode is None:
        raise _wrong(f"{where}.mode", item.get("mode"), " or ".join(MODES))
    return Entry(path, sha256, size, mode, "")


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        return False
    return path in FILES or (len(parts) > 1 and parts[0] in FOLDERS)


def _stays_inside(path: str, link: str) -> bool:
    if not link or link.startswith("/") or not link.isprintable() or "\\" in link:
        return False
    top = path.partition("/")[0]
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return end.startswith(f"{top}/")


def _check_tree(entries: Tuple[Entry, ...]) -> None:
    """No path twice, and none below another that is no folder: nothing is written through a link."""
    paths = {entry.path for entry in entries}
    seen: List[str] = []
    if len(paths) != len(entries):
        for entry in entries:
            if entry.path in seen:
                raise _wrong("files", entry.path, "each path only once")
            seen.append(entry.path)
    for entry in entries:
        above: Optional[str] = posixpath.dirname(entry.path)
        while above:
            if above in paths:
                raise _wrong("files", entry.path, f"nothing below {above}, which is no folder")
            above = posixpath.dirname(above)


def _wrong(key: str, found: object, right: str) -> ReleaseError:
    return ReleaseError(f"manifest.json: {key} is {ascii(found)[:80]}; it must be {right}")
