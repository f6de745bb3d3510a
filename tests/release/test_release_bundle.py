"""Manifest and archive: nothing but what is listed, where it is listed, byte by byte."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signedbundle import Member, entry, manifest, members, pack

from deploy.release.bundle import Bundle
from deploy.release.errors import ReleaseError
from deploy.release.manifest import Entry, parse_manifest


def unpacked(folder: Path, parts: list[Member], *, listed: list[Member] | None = None) -> dict[str, bytes | str]:
    """What lands on the disk."""
    content = manifest(parts if listed is None else listed)
    path = pack(folder / "bundle.tar", content, b"{}", parts)
    out = folder / "out"
    landed: list[Entry] = []
    with Bundle(path) as bundle:
        assert bundle.manifest == content
        bundle.unpack(parse_manifest(bundle.manifest), out, lambda each, _: landed.append(each))
    assert len(landed) == len(parts)
    return {
        str(file.relative_to(out)): str(file.readlink()) if file.is_symlink() else file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_symlink() or file.is_file()
    }


def test_all_of_it(tmp_path: Path) -> None:
    parts = [
        *members(),
        Member("python/bin/python3.10", b"\x7fELF", mode=0o755),
        Member("python/bin/python3", link="python3.10"),
        Member("python/lib/x/y", link="../../bin/python3"),
        Member("docs/file with (blanks).md", b""),
    ]
    assert unpacked(tmp_path, parts) == {part.path: part.link or part.data for part in parts}
    assert (tmp_path / "out/python/bin/python3.10").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/sbom.cdx.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda parts: parts[:-1], "wheels/edge_fer-0.1.0-py3-none-any.whl is missing"),
        (lambda parts: parts[:2], "are missing"),
        (lambda parts: [*parts, Member("docs/more.md")], "'docs/more.md' is not in its manifest"),
        (lambda parts: [*parts, parts[0]], "is there twice"),
        (lambda parts: [parts[0]._replace(data=b"x"), *parts[1:]], "no file of"),
        (lambda parts: [parts[0]._replace(data=parts[0].data[::-1]), *parts[1:]], "sha256 of config/edge-fer.toml"),
        (lambda parts: [Member(parts[0].path, link="../../etc/passwd"), *parts[1:]], "no file of"),
        (lambda parts: [*parts[:-1], parts[-1]._replace(path="/etc/passwd")], "'/etc/passwd' is not in its manifest"),
        (lambda parts: [*parts[:-1], parts[-1]._replace(path="docs/../../x")], "is not in its manifest"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, change: Callable[[list[Member]], list[Member]], told: str) -> None:
    with pytest.raises(ReleaseError, match=told):
        unpacked(tmp_path, change(members()), listed=members())


def test_another_link(tmp_path: Path) -> None:
    listed = [*members(), Member("python/bin/python3", link="python3.10")]
    with pytest.raises(ReleaseError, match="is not the link to"):
        unpacked(tmp_path, [*members(), Member("python/bin/python3", link="../../../sh")], listed=listed)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_no_file_and_no_link(tmp_path: Path, kind: bytes) -> None:
    part = Member("docs/power.md")
    content = manifest([part])
    path = pack(tmp_path / "bundle.tar", content, b"{}", [])
    with tarfile.open(path, "a") as archive:
        item = tarfile.TarInfo(part.path)
        item.type, item.linkname = kind, "manifest.json"
        archive.addfile(item)
    with Bundle(path) as bundle, pytest.raises(ReleaseError, match=r"docs/power\.md is no file"):
        bundle.unpack(parse_manifest(bundle.manifest), tmp_path / "out", lambda *_: None)


@pytest.mark.parametrize("size", [0, 100, 512, 5000, 20_000])
def test_cut_off(tmp_path: Path, size: int) -> None:
    content = manifest(members())
    path = pack(tmp_path / "bundle.tar", content, b"{}", members())
    path.write_bytes(path.read_bytes()[:size])

    def read() -> None:
        with Bundle(path) as bundle:
            bundle.unpack(parse_manifest(bundle.manifest), tmp_path / "out", lambda *_: None)

    with pytest.raises(ReleaseError):
        read()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
def test_garbage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("garbage") / "bundle.tar"
    path.write_bytes(data)
    with pytest.raises(ReleaseError):
        Bundle(path)


def test_other_archives(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("something"), io.BytesIO())
    with pytest.raises(ReleaseError, match=r"manifest\.json is not where it must be"):
        Bundle(path)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    with pytest.raises(ReleaseError, match="no bundle"):
        Bundle(path)


def test_what_is_read_before_it_is_trusted_is_limited(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"manifest\.sig has 20000 bytes"):
        Bundle(pack(tmp_path / "bundle.tar", b"{}", bytes(20_000), []))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 2}, "schema 2, this program knows 1"),
        ({"name": "other"}, "not that of an edge-fer bundle"),
        ({"version": "../x"}, "version is '../x'"),
        ({"version": None}, "version is None"),
        ({"python": "3.10; rm"}, "python is"),
        ({"python": "2.7"}, "a version as 3.10"),
        ({"python_source": "web"}, '"system" or "standalone"'),
        ({"glibc": "new"}, "glibc is 'new'"),
        ({"unpacked_bytes": "many"}, "unpacked_bytes"),
        ({"environment": {"A": "$(reboot)"}}, "environment is"),
        ({"environment": {"a b": "c"}}, "environment is"),
        ({"environment": []}, "environment is"),
        ({"drop_ins": ["../x"]}, "drop_ins is"),
        ({"files": None}, "files is None"),
        ({"files": [1]}, r"files\[0\] is 1"),
    ],
)
def test_manifests_that_are_wrong(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ReleaseError, match=told):
        parse_manifest(manifest(members(), **changes))


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "..", "docs/..", "docs/../x", "docs//x", "docs/./x", "docs", "bin/edge-fer", "lib/x",
        "manifest.json", "pyvenv.cfg", "docs\\x", "docs/x\n", "docs/\x1b", "docs/",
    ],
)  # fmt: skip
def test_paths_that_are_wrong(path: str) -> None:
    listed = [{**entry(Member("docs/x")), "path": path}]
    with pytest.raises(ReleaseError, match=r"files\[0\]\.path"):
        parse_manifest(manifest([], files=listed))


@pytest.mark.parametrize("link", ["", "/bin/sh", "..", "../..", "../../x", "../../docs/x", "x\n", "a/../../../x"])
def test_links_that_lead_out(link: str) -> None:
    with pytest.raises(ReleaseError, match=r"files\[0\]\.link"):
        parse_manifest(manifest([], files=[{"path": "python/bin/x", "link": link}]))


@pytest.mark.parametrize(
    "change", [{"sha256": "x"}, {"size": -1}, {"size": True}, {"size": "1"}, {"mode": "4755"}, {"mode": None}]
)
def test_entries_that_are_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError, match=rf"files\[0\]\.{next(iter(change))}"):
        parse_manifest(manifest([], files=[{**entry(Member("docs/x")), **change}]))


def test_nothing_is_written_through_a_link() -> None:
    parts = [Member("python/lib", link="bin"), Member("python/lib/x", b"")]
    with pytest.raises(ReleaseError, match="nothing below python/lib"):
        parse_manifest(manifest(parts))
    with pytest.raises(ReleaseError, match="each path only once"):
        parse_manifest(manifest([parts[0], parts[0]]))


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    ),
    st.data(),
)
def test_any_value_anywhere_is_an_error_with_a_name(value: object, data: st.DataObject) -> None:
    told = json.loads(manifest(members()))
    key = data.draw(st.sampled_from(sorted(told)))
    told[key] = value
    try:
        parse_manifest(json.dumps(told).encode())
    except ReleaseError as err:
        assert key in str(err) or "edge-fer bundle" in str(err)  # noqa: PT017 - that it is one is not certain
