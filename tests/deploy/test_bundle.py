"""Bundles: whole, signed, and the same bytes wherever they are built."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import COMMIT_S, THIS_PYTHON, amd64, commit_all, copy_checkout, nano, python_tree, tiny_wheel, write

from deploy.board import Board, all_boards, load_board
from deploy.bundle import build_bundle, configuration
from deploy.checkout import PROJECT
from deploy.manifest import read_manifest, release_id, sha256_of
from deploy.release.bundle import Bundle
from deploy.release.manifest import parse_manifest
from deploy.release.trust import check_signature, read_keys
from deploy.release.wheels import install_wheel
from deploy.signing import create_key, public_line
from edge_fer.cli import main
from edge_fer.config import load_config
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError

AMD64, NANO = amd64(), nano()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "deploy_key"
    create_key(path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return [tiny_wheel(folder, "zebra"), tiny_wheel(folder, "apple")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_tree(tmp_path_factory.mktemp("python"))


Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path, key: Path, root: Path, wheels: list[Path]) -> Build:
    """Builds with wheels of a few bytes into tmp_path/dist."""

    def build_it(**options: Any) -> Path:
        board, system = options.pop("of", AMD64)
        options = {"out": tmp_path / "dist", "key": key, "root": root, "wheels": wheels} | options
        return build_bundle(board, system, **options)

    return build_it


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, key: Path, root: Path, wheels: list[Path], tree: Path) -> Path:
    """For a Jetson Nano, with everything that a bundle can have."""
    return build_bundle(*NANO, out=tmp_path_factory.mktemp("dist"), python_tree=tree, key=key, root=root, wheels=wheels)


def members(bundle: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(bundle) as archive:
        return archive.getmembers()


def content(bundle: Path, name: str) -> bytes:
    with tarfile.open(bundle) as archive:
        file = archive.extractfile(name)
        assert file
        return file.read()


def test_the_same_bytes_from_another_checkout_at_another_time(build: Build, root: Path, tmp_path: Path) -> None:
    told: list[str] = []
    first = build(told=told.append)
    assert told == ["building the wheel of edge-fer ...", "packing ..."]
    before = os.umask(0o077)
    try:
        other = copy_checkout(tmp_path / "other", root, mtime_s=COMMIT_S + 54321, umask=0o077)
        second = build(root=other, out=tmp_path / "elsewhere")
    finally:
        os.umask(before)
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes()


def test_the_order_of_its_members(built: Path) -> None:
    names = [member.name for member in members(built)]
    assert names[:4] == ["manifest.json", "manifest.sig", "config/edge-fer.toml", "sbom.cdx.json"]
    folders = list(dict.fromkeys(name.split("/")[0] for name in names[4:]))
    assert folders == ["systemd", "docs", "wheels", "python"]
    for folder in folders:
        below = [name for name in names if name.startswith(f"{folder}/")]
        assert below == sorted(below)
    own = read_manifest(built)["version"]
    assert [name for name in names if name.startswith("wheels/")] == [
        "wheels/apple-1.0-py3-none-any.whl",
        f"wheels/edge_fer-{own}-py3-none-any.whl",
        "wheels/zebra-1.0-py3-none-any.whl",
    ]
    assert {"docs/power.md", "docs/configuration.md"} < set(names)
    assert not [name for name in names if name.startswith("docs/") and not re.fullmatch(r"docs/[^/]+\.md", name)]


def test_its_members_are_of_nobody_in_particular(built: Path) -> None:
    for member in members(built):
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "root", "root")
        assert member.mtime == COMMIT_S
        assert member.isreg() or member.issym()
        assert oct(member.mode) in {"0o644", "0o755"} or member.issym()
    programs = {member.name for member in members(built) if member.isreg() and member.mode == 0o755}
    assert programs == {"python/bin/python3.10", "python/lib/python3.10/lib-dynload/array.so"}


def test_its_manifest_lists_each_member(built: Path, root: Path) -> None:
    manifest = read_manifest(built)
    listed = {entry["path"]: entry for entry in manifest["files"]}
    packed = members(built)[2:]
    assert list(listed) == [member.name for member in packed]
    for member in packed:
        entry = listed[member.name]
        if member.issym():
            assert entry == {"path": member.name, "link": member.linkname}
        else:
            data = content(built, member.name)
            assert entry == {
                "path": member.name,
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "mode": f"{member.mode:04o}",
            }
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert manifest["commit"] == head.stdout.strip()
    assert manifest["built_unix_s"] == COMMIT_S
    assert manifest["unpacked_bytes"] > 2 * sum(entry.get("size", 0) for entry in listed.values())
    release = release_id(manifest["version"], content(built, "manifest.json"))
    assert built.name == f"edge-fer-{release}-jetson-nano-jetpack-4.tar"


def test_the_board_unpacks_what_it_trusts(built: Path, key: Path, tmp_path: Path) -> None:
    trusted = write(tmp_path / "trusted-keys", public_line(key))
    landed = []
    with Bundle(built) as bundle:
        check_signature(bundle.manifest, bundle.signature, read_keys(trusted), trusted)
        manifest = parse_manifest(bundle.manifest)
        bundle.unpack(manifest, tmp_path / "release", lambda entry, _: landed.append(entry.path))
    assert landed == [entry["path"] for entry in read_manifest(built)["files"]]
    assert (tmp_path / "release/python/bin/python3").readlink() == Path("python3.10")


def test_the_bill_of_materials_is_of_this_bundle(built: Path) -> None:
    bill = json.loads(content(built, "sbom.cdx.json"))
    refs = {part["bom-ref"] for part in bill["components"]}
    assert {"pkg:pypi/apple@1.0", "pkg:pypi/zebra@1.0", "pkg:generic/cpython@3.10.19"} < refs
    assert bill["metadata"]["properties"] == [{"name": "edge-fer:target", "value": "jetson-nano-jetpack-4"}]
    listed = {entry["path"]: entry.get("sha256") for entry in read_manifest(built)["files"]}
    for part in [*bill["components"], bill["metadata"]["component"]]:
        for place in part.get("properties", []):
            if place["value"].startswith("wheels/"):
                assert part["hashes"][0]["content"] == listed[place["value"]]


def test_an_identical_bundle_is_left_as_it_is(build: Build) -> None:
    first = build()
    inode, data = first.stat().st_ino, first.read_bytes()
    assert build().stat().st_ino == inode
    first.write_bytes(data[:-1])
    assert build().read_bytes() == data
    assert [path.name for path in first.parent.iterdir()] == [first.name], "nothing else is left there"


def test_only_the_drop_ins_that_the_system_names(build: Build, root: Path, tmp_path: Path) -> None:
    own = copy_checkout(tmp_path / "checkout", root)
    for name in ("wanted", "other"):
        write(own / f"systemd/drop-ins/{name}.conf", "[Service]\n")
    board, system = AMD64
    bundle = build(root=own, of=(board, replace(system, drop_ins=("wanted",))))
    packed = {member.name for member in members(bundle) if member.name.startswith("systemd/")}
    below = {path.relative_to(own).as_posix() for path in (own / "systemd").rglob("*") if path.is_file()}
    assert packed == {name for name in below if "drop-ins/" not in name} | {
        "systemd/drop-ins/credentials.conf",
        "systemd/drop-ins/wanted.conf",
    }
    with pytest.raises(UnavailableError, match=r"systemd/drop-ins/absent.conf: missing, but debian-12 needs it"):
        build(root=own, of=(board, replace(system, drop_ins=("absent",))))
    (own / "systemd/edge-fer.service").unlink()
    with pytest.raises(UnavailableError, match=r"systemd/edge-fer.service: missing"):
        build(root=own)


def test_every_drop_in_that_a_board_names_is_there() -> None:
    named = {name for board in all_boards() for system in board.systems for name in system.drop_ins}
    assert named
    assert named <= {path.stem for path in (PROJECT / "systemd/drop-ins").glob("*.conf")}


def test_another_version(build: Build) -> None:
    bundle = build(version="7.0.1")
    assert bundle.name.startswith("edge-fer-7.0.1-")
    assert "wheels/edge_fer-7.0.1-py3-none-any.whl" in [member.name for member in members(bundle)]
    assert read_manifest(bundle)["version"] == "7.0.1"


def test_a_changed_checkout_names_no_commit(build: Build, root: Path, tmp_path: Path) -> None:
    own = copy_checkout(tmp_path / "checkout", root)
    clean = read_manifest(build(root=own))
    page = own / "docs/power.md"
    page.write_text(page.read_text() + "\n")
    changed = read_manifest(build(root=own))
    assert (len(clean["commit"]), changed["commit"]) == (40, "")
    commit_all(own)
    assert read_manifest(build(root=own))["commit"] not in ("", clean["commit"])


def test_a_given_time_is_carried(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    bundle = build()
    assert {member.mtime for member in members(bundle)} == {1_700_000_000}
    assert json.loads(content(bundle, "sbom.cdx.json"))["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_a_board_without_a_python_needs_a_tree(build: Build) -> None:
    with pytest.raises(UsageError, match=r"uv python install cpython-3.10-linux-aarch64-gnu --install-dir python-tree"):
        build(of=NANO)


def test_a_tree_is_not_packed_where_the_board_has_a_python(build: Build, tree: Path) -> None:
    assert not [member.name for member in members(build(python_tree=tree)) if member.name.startswith("python/")]


def test_a_wrong_tree_leaves_nothing_behind(build: Build, tmp_path: Path) -> None:
    wrong = python_tree(tmp_path / "tree", machine="x86_64")
    with pytest.raises(UsageError, match="is for x86_64, but the board is aarch64"):
        build(of=NANO, python_tree=wrong)
    assert list((tmp_path / "dist").iterdir()) == []


def test_a_missing_key_is_told_before_the_work(build: Build, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such key to sign the bundle with"):
        build(key=tmp_path / "missing")
    assert not (tmp_path / "dist").exists()


def test_missing_detectors_are_told_before_the_work(build: Build, root: Path, tmp_path: Path) -> None:
    own = copy_checkout(tmp_path / "checkout", root, git=False)
    (own / "edge_fer/models/face_detection_back.tflite").unlink()
    with pytest.raises(UnavailableError, match=r"(?s)face_detection_back.tflite: missing.*`make models` fetches them"):
        build(root=own)
    assert not (tmp_path / "dist").exists()


def test_a_folder_that_cannot_be_written(build: Build, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(UnavailableError, match=r"/file: the bundle cannot be built \(File exists\)"):
        build(out=tmp_path / "file")


def test_a_wheel_that_is_gone(build: Build, tmp_path: Path) -> None:
    with pytest.raises(EdgeFerError, match=r"gone.whl: not a wheel"):
        build(wheels=[tmp_path / "gone.whl"])


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.key)
def test_the_configuration_of_each_board_is_right(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge-fer.toml"
    path.write_bytes(configuration(board))
    assert main(["check-config", str(path)]) == 0
    assert "cameras front" in capsys.readouterr().out
    config = load_config(path, {})
    assert config.camera["front"].uri == board.camera
    assert config.broker
    assert config.broker.url == "mqtt://127.0.0.1:1883"
    assert config.commands.allow == []
    assert config.state_dir == Path("/var/lib/edge-fer")


def test_the_remote_broker_of_the_template_is_right_too(tmp_path: Path) -> None:
    lines = configuration(load_board("generic-amd64")).decode().splitlines()
    kept = [line for line in lines if not line.startswith("url = ")]
    opened = [re.sub(r"^# (?=(url|password_file|node) = )", "", line) for line in kept]
    path = write(tmp_path / "edge-fer.toml", "\n".join(opened))
    config = load_config(path, {})
    assert config.broker
    assert config.broker.url == "mqtts://USER@broker.lan"
    assert config.broker.password_file == Path("/etc/edge-fer/mqtt-password")
    assert config.node == "kitchen"


def test_a_camera_may_have_any_address() -> None:
    board = replace(load_board("generic-amd64"), camera='exec:say "hello" \\ 你好')
    text = configuration(board).decode()
    assert 'uri = "exec:say \\"hello\\" \\\\ ' in text


def test_a_real_bundle_runs_with_nothing_else(tmp_path: Path, root: Path, key: Path) -> None:
    """All locked wheels of the system whose Python this one is, built twice, unpacked, and shown the sample clip."""
    board = load_board("generic-amd64" if platform.machine() == "x86_64" else "generic-arm64")
    system = next(system for system in board.systems if system.python == THIS_PYTHON)
    try:
        first = build_bundle(board, system, out=tmp_path / "dist", key=key, root=root)
    except UnavailableError as err:
        if "cannot be fetched" not in str(err):
            raise
        pytest.skip(f"no package index and no cache of wheels here: {err}")
    other = copy_checkout(tmp_path / "other", root, mtime_s=COMMIT_S + 1, umask=0o077)
    assert sha256_of(build_bundle(board, system, out=tmp_path / "again", key=key, root=other)) == sha256_of(first)
    with Bundle(first) as bundle:
        bundle.unpack(parse_manifest(bundle.manifest), tmp_path / "release", lambda *_: None)
    for wheel in (tmp_path / "release/wheels").iterdir():
        install_wheel(wheel, tmp_path / "site")
    script = "import sys; sys.path.append(sys.argv.pop(1)); from edge_fer.cli import main; sys.exit(main())"
    interpreter = [f"{sys.base_prefix}/bin/python{THIS_PYTHON}", "-I", "-S", "-c", script, str(tmp_path / "site")]
    command = [*interpreter, "run", "--camera", "sample:", "--node", "bundle", "--print"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert '"type":"start"' in done.stdout.replace(" ", "")
