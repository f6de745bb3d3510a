"""The user as whom the daemon runs, and what belongs to it."""

import os

from deploy.release.errors import UnavailableError
from deploy.release.facts import GROUPS
from deploy.release.layout import USER
from deploy.release.work import Work


def make_user(work: Work) -> None:
    """A system user that cannot log in, in the groups that open cameras; its folders. UnavailableError where not."""
    host, layout = work.host, work.layout
    if host.run("id", "-u", USER).code:
        has_group = host.run("getent", "group", USER).code == 0
        group = ["--gid", USER] if has_group else ["--user-group"]
        home = ["--no-create-home", "--home-dir", "/var/lib/edge-fer", "--shell", "/usr/sbin/nologin"]
        done = host.run("useradd", "--system", *group, *home, USER)
        if done.code:
            raise UnavailableError(f"the user {USER} cannot be made: {done.last}")
        work.told.step("user", f"{USER} was made: it cannot log in")
    work.checkpoint("user-made")
    groups = [name for name in GROUPS if host.run("getent", "group", name).code == 0]
    there = host.run("id", "-nG", USER).out.split()
    missing = [name for name in groups if name not in there]
    if missing:
        done = host.run("usermod", "--append", "--groups", ",".join(missing), USER)
        if done.code:
            raise UnavailableError(f"{USER} cannot be put into the groups {', '.join(missing)}: {done.last}")
        work.told.step("user", f"{USER} may use what belongs to {' and '.join(missing)}")
    layout.etc.mkdir(mode=0o750, parents=True, exist_ok=True)
    host.give(layout.etc, "root", USER)
    layout.etc.chmod(0o750)  # as the unit's ConfigurationDirectoryMode= has it
    if not layout.data.is_dir():
        layout.data.mkdir(mode=0o750, parents=True)
    host.give(layout.data, USER, USER)
    work.checkpoint("user-ready")


def remove_user(work: Work) -> None:
    """The user and its group, where there are any."""
    for program, kind in (("userdel", "passwd"), ("groupdel", "group")):
        if work.host.run("getent", kind, USER).code == 0:
            done = work.host.run(program, USER)
            if done.code:
                work.told.warning(f"{program} {USER}: {done.last}")


def is_root(work: Work) -> bool:
    """Whether this program may change the board."""
    return work.host.run("id", "-u").out.strip() == "0" and os.access(str(work.layout.root), os.W_OK)
