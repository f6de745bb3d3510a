"""A bundle: all that a board needs of edge-fer, in one signed archive that is the same wherever it is built."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.audit import audit
from deploy.board import Board, System
from deploy.checkout import PROJECT, build_time_s, commit, source_files
from deploy.manifest import MANIFEST, SIGNATURE, PackedFile, PackedLink, manifest_bytes, release_id, sha256_of
from deploy.pack import Member, write_archive
from deploy.python_tree import PythonTree, how_to_get, read_python_tree
from deploy.requirements import missing_requirements
from deploy.sbom import read_metadata, sbom_bytes
from deploy.signing import load_key, signature_bytes
from deploy.wheel import build_own_wheel, checked_assets
from deploy.wheelset import fetch, load_wheel_set
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TEMPLATE = "deploy/config/edge-fer.toml"
_CAMERA = "@CAMERA@"
_UNIT = "systemd/edge-fer.service"
_WHERE_IT_FITS = ("credentials",)  # of which the board decides
_BUILT_FROM = ("edge_fer", "pyproject.toml", "README.md", "LICENSE", "systemd", "docs", "deploy")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """What a bundle is made of."""

    board: Board
    system: System
    root: Path
    own: Path  # the wheel of edge-fer
    others: Sequence[Path]
    python: PythonTree | None
    time_s: int


def build_bundle(
    board: Board,
    system: System,
    *,
    out: Path,
    python_tree: Path | None = None,
    key: Path | None = None,
    version: str | None = None,
    told: Callable[[str], None] = lambda _: None,
    root: Path = PROJECT,
    wheels: Sequence[Path] | None = None,
) -> Path:
    """Build edge-fer-<release>-<board>-<system>.tar into a folder, or leave the same one that is there already.

    `python_tree` is a standalone CPython, folder or archive, for a system that has none of the right version. Another
    `version` or `root` than this checkout's, and other `wheels` than the locked ones, which are then not checked, serve
    tests. What needs no time is checked first; errors name what is missing, and the cure.
    """
    private = load_key(key)
    if system.python_source == "standalone" and python_tree is None:
        raise UsageError(how_to_get(board, system))
    checked_assets(root)
    _services(root, system)
    time_s = build_time_s(root)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=out) as folder:
            workspace = Path(folder)
            python = None
            if system.python_source == "standalone" and python_tree is not None:
                told(f"looking at the Python in {python_tree} ...")
                python = read_python_tree(python_tree, board, system, workspace)
            told("building the wheel of edge-fer ...")
            own = build_own_wheel(workspace, root, version=version)
            others = _locked_wheels(board, system, root, told) if wheels is None else wheels
            contents = _Contents(
                board=board, system=system, root=root, own=own, others=others, python=python, time_s=time_s
            )
            told("packing ...")
            return _write(contents, private, out, workspace)
    except OSError as err:
        if isinstance(err, UnavailableError):
            raise
        raise UnavailableError(f"{err.filename or out}: the bundle cannot be built ({err.strerror or err})") from err


def configuration(board: Board, root: Path = PROJECT) -> bytes:
    """The template of /etc/edge-fer/edge-fer.toml, with the usual camera of that board."""
    text = (root / TEMPLATE).read_text(encoding="utf-8")
    return text.replace(_CAMERA, json.dumps(board.camera)).encode()  # a string of JSON is one of TOML


def _locked_wheels(board: Board, system: System, root: Path, told: Callable[[str], None]) -> list[Path]:
    """The wheels of the system's set; EdgeFerError names all that would not run there, and all that is missing."""
    wheel_set = load_wheel_set(system.wheels)
    paths = fetch(wheel_set, told=told)
    told(f"looking through the {len(paths)} wheels of {wheel_set.key} ...")
    problems = missing_requirements(wheel_set, paths, project=root / "pyproject.toml")
    problems += audit(paths, board.machine, system.glibc)
    if problems:
        raise EdgeFerError("\n".join([f"deploy/wheels/{wheel_set.key}.txt does not fit {board.key}:", *problems]))
    return paths


def _members(contents: _Contents) -> Iterator[Member | PackedLink]:
    """Everything but the manifest and its signature, in the order in which it is packed."""
    yield Member("config/edge-fer.toml", configuration(contents.board, contents.root))
    bill = sbom_bytes(
        contents.own,
        contents.others,
        contents.python,
        contents.root / "edge_fer" / "models",
        time_s=contents.time_s,
        target=f"{contents.board.key}-{contents.system.key}",
    )
    yield Member("sbom.cdx.json", bill)
    yield from _services(contents.root, contents.system)
    for name in source_files(contents.root, "docs"):
        if name.endswith(".md") and name.count("/") == 1:
            yield Member(name, contents.root / name)
    for wheel in sorted([contents.own, *contents.others], key=lambda wheel: wheel.name):
        yield Member(f"wheels/{wheel.name}", wheel)
    if contents.python:
        yield from _python_members(contents.python)


def _services(root: Path, system: System) -> list[Member]:
    """All of systemd/, but of its drop-ins those that the system names, and those for whatever a board has."""
    wanted = [f"systemd/drop-ins/{name}.conf" for name in (*system.drop_ins, *_WHERE_IT_FITS)]
    names = source_files(root, "systemd")
    if missing := sorted({_UNIT, *wanted} - set(names)):
        raise UnavailableError(f"{root / missing[0]}: missing, but {system.key} needs it")
    chosen = [name for name in names if not name.startswith("systemd/drop-ins/") or name in wanted]
    return [Member(name, root / name) for name in chosen]


def _python_members(python: PythonTree) -> Iterable[Member | PackedLink]:
    files = [Member(f"python/{file.path}", file.source, file.mode) for file in python.files]
    links = [PackedLink(f"python/{link.path}", link.target) for link in python.links]
    return sorted([*files, *links], key=lambda member: member.path)


def _write(contents: _Contents, key: Ed25519PrivateKey, out: Path, workspace: Path) -> Path:
    """Written beside, then renamed."""
    version = read_metadata(contents.own).version
    members = list(_members(contents))
    packed = [member.packed() if isinstance(member, Member) else member for member in members]
    archive_bytes = sum(file.size_bytes for file in packed if isinstance(file, PackedFile))
    installed_bytes = sum(member.unpacked_bytes() for member in members if isinstance(member, Member))
    manifest = manifest_bytes(
        contents.board,
        contents.system,
        version=version,
        commit=commit(contents.root, *_BUILT_FROM),
        built_unix_s=contents.time_s,
        unpacked_bytes=archive_bytes + installed_bytes,
        members=packed,
    )
    head = [Member(MANIFEST, manifest), Member(SIGNATURE, signature_bytes(manifest, key))]
    name = f"edge-fer-{release_id(version, manifest)}-{contents.board.key}-{contents.system.key}.tar"
    beside, target = workspace / name, out / name
    write_archive([*head, *members], beside, contents.time_s)
    if not (target.is_file() and sha256_of(target) == sha256_of(beside)):
        beside.replace(target)
    return target
