"""The releases on a board: which are whole, which is current, which may go."""

import os
from typing import List, Optional

from deploy.release.errors import ReleaseError
from deploy.release.files import read_file, remove_file, remove_tree, replace_link, sweep
from deploy.release.manifest import Manifest, parse_manifest
from deploy.release.state import load_state, save_state
from deploy.release.work import Work


def names(work: Work) -> List[str]:
    """All that are whole, in alphabetical order."""
    folder = work.layout.releases
    if not folder.is_dir():
        return []
    found = sorted(os.listdir(str(folder)))
    return [name for name in found if not name.startswith(".") and (folder / name / "manifest.json").is_file()]


def manifest_of(work: Work, name: str) -> Manifest:
    """ReleaseError where there is no such release."""
    data = read_file(work.layout.release(name) / "manifest.json") if name in names(work) else None
    if data is None:
        known = ", ".join(names(work)) or "none"
        raise ReleaseError(f"release {name!a} is not on this board; there are: {known}")
    return parse_manifest(data)


def make_current(work: Work, name: str) -> None:
    """From now on everything that names `current` means this release."""
    replace_link(work.layout.current, f"releases/{name}")


def link_commands(work: Work) -> None:
    """`edge-fer` and `edge-fer-release` for people; what somebody else put there is left alone."""
    layout = work.layout
    for link, target in ((layout.command_link, layout.current / "bin" / "edge-fer"), (layout.agent_link, layout.agent)):
        there = _link(str(link))
        if there is None and os.path.lexists(str(link)):
            work.told.warning(f"{link} is not ours, and is left as it is: ours is {target}")
        elif there != str(target):
            replace_link(link, str(target))


def unlink_commands(work: Work, *, agent: bool) -> None:
    """The opposite."""
    layout = work.layout
    if (_link(str(layout.command_link)) or "").startswith(str(layout.home)):
        remove_file(layout.command_link)
    if agent and _link(str(layout.agent_link)) == str(layout.agent):
        remove_file(layout.agent_link)


def prune(work: Work, keep: int) -> None:
    """Keep the current and the previous release, and of the others those that ran last, `keep` in all."""
    state = load_state(work.layout)
    wanted = [name for name in (state.current, state.previous) if name]
    for name in state.history:
        if name not in wanted and len(wanted) < keep:
            wanted.append(name)
    for name in names(work):
        if name not in wanted:
            work.told.step("prune", f"{name} is removed")
            remove(work, name)
            work.checkpoint("pruned-one")


def remove(work: Work, name: str) -> None:
    """The release is gone, and so is what is remembered of it but its failure."""
    remove_tree(work.layout.release(name))
    state = load_state(work.layout)
    if state != state.without(name):
        save_state(work.layout, state.without(name))


def tidy(work: Work) -> None:
    """Remove what a run that was killed has left behind."""
    layout = work.layout
    for folder in (layout.home, layout.releases, layout.etc, layout.drop_ins):
        sweep(folder)
    links = (layout.command_link.parent, layout.agent_link.parent)
    for folder in (layout.home.parent, layout.units, layout.tmpfiles, layout.udev, layout.polkit, *links):
        sweep(folder, "edge-fer")
    remove_file(layout.config_trial)
    if load_state(layout).pending is None:
        remove_file(layout.password_before)


def _link(path: str) -> Optional[str]:
    """Where a link points to; None where it is none."""
    return os.readlink(path) if os.path.islink(path) else None
