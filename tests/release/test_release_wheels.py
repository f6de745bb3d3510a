"""Wheels, unzipped as pip does it."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from signedbundle import wheel

from deploy.release.errors import ReleaseError
from deploy.release.wheels import install_wheel


def install(folder: Path, data: bytes, name: str = "x-1-py3-none-any.whl") -> Path:
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    install_wheel(folder / name, site)
    return site


def names(site: Path) -> list[str]:
    return sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())


def test_packages_and_their_data(tmp_path: Path) -> None:
    data = wheel(
        {
            "x/__init__.py": "1",
            "x/folder/": "",
            "x-1.dist-info/METADATA": "Name: x",
            "x-1.data/purelib/x/pure.py": "2",
            "x-1.data/platlib/x/fast.so": "3",
            "x-1.data/scripts/x": "#!python",
            "x-1.data/headers/x.h": "",
            "x-1.data/data/share/x": "",
        }
    )
    site = install(tmp_path, data)
    assert names(site) == ["x-1.dist-info/METADATA", "x/__init__.py", "x/fast.so", "x/pure.py"]
    assert (site / "x/pure.py").read_text() == "2"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "x/../../y", "x\\y", "x//y", "./x", "x-1.data/purelib/../../y", "a\x1b"]
)
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReleaseError, match="leads out of it"):
        install(tmp_path, wheel({name: ""}))
    assert names(tmp_path / "site") == []


def test_two_wheels_with_one_file(tmp_path: Path) -> None:
    install(tmp_path, wheel({"shared/__init__.py": "same"}))
    install(tmp_path, wheel({"shared/__init__.py": "same"}), "y-1-py3-none-any.whl")
    with pytest.raises(ReleaseError, match=r"z-1-py3-none-any.whl: shared/__init__.py is in another wheel"):
        install(tmp_path, wheel({"shared/__init__.py": "other"}), "z-1-py3-none-any.whl")


def test_modes(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, mode in {"tool": 0o104755, "module.py": 0o100600, "plain": 0}.items():
            item = zipfile.ZipInfo(name)
            item.external_attr = mode << 16
            archive.writestr(item, "")
    site = install(tmp_path, out.getvalue())
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in site.iterdir()} == {
        "tool": 0o755, "module.py": 0o644, "plain": 0o644,
    }  # fmt: skip


def test_links_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        item = zipfile.ZipInfo("x")
        item.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(item, "/etc/passwd")
    with pytest.raises(ReleaseError, match="x is a link"):
        install(tmp_path, out.getvalue())


def test_no_wheel(tmp_path: Path) -> None:
    good = wheel({"x.py": "text" * 1000})
    for data in (b"", b"PK", good[:-10], good[:40] + b"\0" * 10 + good[50:]):
        with pytest.raises(ReleaseError, match="no wheel that can be unzipped"):
            install(tmp_path, data)
