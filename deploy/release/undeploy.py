"""Removes edge-fer from a board."""

from deploy.release.accounts import remove_user
from deploy.release.files import remove_tree
from deploy.release.layout import UNIT
from deploy.release.releases import unlink_commands
from deploy.release.switch import DONE
from deploy.release.units import remove_units
from deploy.release.work import Work


def undeploy(work: Work, *, purge: bool) -> int:
    """Service and releases go; configuration, keys and what the daemon remembers stay, but for `purge`. Repeatable."""
    layout = work.layout
    remove_units(work)
    work.told.step("units", f"{UNIT} is stopped and removed")
    unlink_commands(work, agent=True)
    work.checkpoint("links-removed")
    helper_data = layout.data.with_name("edge-fer-power-mode")
    kept = [folder for folder in (layout.etc, layout.data, helper_data) if folder.is_dir()]
    if purge:
        for folder in kept:
            remove_tree(folder)
            work.told.step("purge", f"{folder} is removed")
        remove_user(work)
        kept = []
    work.checkpoint("purged")
    remove_tree(layout.home)
    work.told.step("done", f"{layout.home} is removed" + "".join(f"; {path} stays" for path in kept))
    return DONE
