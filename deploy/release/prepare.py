"""Makes the folder of a release out of a bundle: whole, or not there."""

import os
import stat
from pathlib import Path
from typing import List

from deploy.release.bundle import MANIFEST, SIGNATURE, Bundle
from deploy.release.errors import ReleaseError
from deploy.release.facts import pythons
from deploy.release.files import remove_tree, sync_folder
from deploy.release.manifest import Entry, Manifest
from deploy.release.wheels import install_wheel
from deploy.release.work import Work

COMPILE_S = 1800.0
"""A Jetson Nano takes minutes for all of it."""


def prepare(work: Work, bundle: Bundle, manifest: Manifest) -> None:
    """Unpack, compile, sync, and give it its name. ReleaseError where the bundle is damaged; nothing is left then."""
    name = manifest.release
    folder, final = work.layout.unfinished(name), work.layout.release(name)
    remove_tree(folder)
    try:
        folder.mkdir(parents=True)
        work.checkpoint("unpack-begun")
        work.told.step("unpack", f"{manifest.described}: {len(manifest.entries)} files")
        _unpack(bundle, manifest, folder)
        work.checkpoint("unpacked")
        _launchers(folder, final, manifest, _python(work, manifest, final))
        _compile(work, folder, final, manifest)
        work.checkpoint("compiled")
        os.sync()
        remove_tree(final)  # of the same name, but not the one that runs
        os.rename(str(folder), str(final))
        sync_folder(work.layout.releases)
    except BaseException:
        remove_tree(folder)
        raise
    work.checkpoint("prepared")


def site(folder: Path, manifest: Manifest) -> Path:
    """Where the packages are, so that `bin/python` finds them by itself, as in a virtual environment."""
    return folder / "lib" / f"python{manifest.python}" / "site-packages"


def _unpack(bundle: Bundle, manifest: Manifest, folder: Path) -> None:
    packages = site(folder, manifest)
    packages.mkdir(parents=True)

    def landed(entry: Entry, path: Path) -> None:
        if entry.path.startswith("wheels/"):
            install_wheel(path, packages)
            path.unlink()

    bundle.unpack(manifest, folder, landed)
    if (folder / "wheels").is_dir():
        (folder / "wheels").rmdir()
    for name, data in ((MANIFEST, bundle.manifest), (SIGNATURE, bundle.signature)):
        (folder / name).write_bytes(data)
    if not (packages / "edge_fer" / "__init__.py").is_file():
        raise ReleaseError(f"{bundle.path}: no edge_fer in its wheels: build it again")


def _python(work: Work, manifest: Manifest, final: Path) -> Path:
    """The interpreter, by the name that it will have."""
    if manifest.brings_python:
        return final / "python" / "bin" / f"python{manifest.python}"
    found = pythons(work.host).get(manifest.python)
    if found is None:
        raise ReleaseError(f"Python {manifest.python} is missing on this board")
    return Path(found)


def _launchers(folder: Path, final: Path, manifest: Manifest, python: Path) -> None:
    """`bin/python` is that of a virtual environment, made without the modules for it, which many boards lack.

    So children that are started with sys.executable find the packages, with -I too, whatever the environment has.
    """
    binaries = folder / "bin"
    binaries.mkdir()
    os.symlink(
        os.path.relpath(str(python), str(final / "bin")) if manifest.brings_python else str(python),
        str(binaries / "python"),
    )
    lines = [f"home = {python.parent}", "include-system-site-packages = false", f"version = {manifest.python}"]
    (folder / "pyvenv.cfg").write_text("".join(f"{line}\n" for line in lines))
    (binaries / "edge-fer").write_text(_launcher(final, manifest))
    (binaries / "edge-fer").chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


def _launcher(final: Path, manifest: Manifest) -> str:
    """Names the release, not `current`: a daemon that runs keeps its own packages while the link is switched."""
    lines = ["#!/bin/sh", f"# edge-fer {manifest.release}", "unset PYTHONHOME PYTHONPATH"]
    for name, value in sorted(manifest.environment.items()):
        lines.append(f': "${{{name}={value}}}"; export {name}')  # what is set already stays
    python = str(final / "bin" / "python").replace("'", "'\\''")
    lines.append(f"exec '{python}' -I -m edge_fer \"$@\"")
    return "\n".join(lines) + "\n"


def _compile(work: Work, folder: Path, final: Path, manifest: Manifest) -> None:
    """Once, as root: the daemon may not write here, and would compile all of it at each start."""
    # Not bin/python, which looks for its home where it will be only after the rename.
    brought = folder / "python" / "bin" / f"python{manifest.python}"
    python = brought if manifest.brings_python else _python(work, manifest, final)
    _try(work, python, manifest)
    work.told.step("compile", f"with Python {manifest.python}")
    what: List[str] = [str(site(folder, manifest))]
    if manifest.brings_python:
        what.append(str(folder / "python" / "lib" / f"python{manifest.python}"))
    how = ["-q", "-j", "0", "-s", str(folder), "-p", str(final), "--invalidation-mode", "unchecked-hash"]
    done = work.host.run(str(python), "-I", "-m", "compileall", *how, *what, timeout_s=COMPILE_S)
    if done.code:
        work.told.warning(f"not all files could be compiled, so starts may be slower: {done.last}")


def _try(work: Work, python: Path, manifest: Manifest) -> None:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = work.host.run(str(python), "-I", "-c", program)
    if done.code or done.out.strip() != manifest.python:
        said = done.last if done.code else f"it is {done.out.strip()}"
        raise ReleaseError(f"the Python {manifest.python} of this bundle does not run on this board: {said}")
