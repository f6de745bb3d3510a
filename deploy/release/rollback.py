"""Back to a release that ran here before."""

from pathlib import Path
from typing import Optional

from deploy.release.check import check_config
from deploy.release.errors import ConfigError, ReleaseError
from deploy.release.files import read_file
from deploy.release.gate import Limits
from deploy.release.releases import manifest_of, names
from deploy.release.settings import changed
from deploy.release.state import linked_release, load_state
from deploy.release.switch import DONE, confirm, switch
from deploy.release.work import Work


def rollback(work: Work, to: Optional[str], limits: Limits, *, its_config: bool) -> int:
    """Switch to the previous release, or to another one that is here; its configuration goes with it where wanted.

    ReleaseError where there is none, ConfigError where it does not take the configuration. The exit code of the switch.
    """
    if load_state(work.layout).pending is not None:
        confirm(work)
    name = to or load_state(work.layout).previous
    current = linked_release(work.layout)
    if not name or name not in names(work):
        raise ReleaseError(_no_release(work, name))
    if name == current:
        work.told.step("done", f"{name} is the current release: nothing to do")
        return DONE
    manifest_of(work, name)
    last, config = work.layout.config_last(name), work.layout.config
    chosen = last if its_config else config
    content = read_file(chosen)
    if content is None:
        raise ConfigError(
            f"{chosen}: is missing; {'without --its-config the present one is used' if its_config else ''}"
        )
    check_config(work, name, content, str(chosen), _cure(last, its_config=its_config))
    work.told.step("rollback", f"{current or 'nothing'} -> {name}, with {chosen}")
    return switch(work, name, changed(work, content, None), limits)


def _no_release(work: Work, name: str) -> str:
    others = [other for other in names(work) if other != linked_release(work.layout)]
    if not others:
        return "there is no other release on this board to go back to"
    which = f"{name!a} is not on this board" if name else "no release ran here before the current one"
    return f"{which}; --to RELEASE takes one of: {', '.join(others)}"


def _cure(last: Path, *, its_config: bool) -> str:
    if its_config:
        return f"that is {last}, with which it ran last: change the configuration by hand"
    if last.exists():
        return "rollback --its-config takes the configuration with which it ran last; the present one is kept beside it"
    return "change the configuration to what this release knows, and try again"
