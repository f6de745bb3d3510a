"""Configuration and secrets: installed, kept over releases, put back."""

from pathlib import Path
from typing import Optional

from deploy.release.errors import UnavailableError
from deploy.release.files import read_file, remove_file, write_file
from deploy.release.layout import USER
from deploy.release.work import Work

MODE = 0o640
"""root writes, the daemon reads, nobody else does."""

LARGEST_BYTES = 1_000_000


class Settings:
    """New contents for files that differ from what is there; None where nothing is to be replaced."""

    def __init__(self, config: Optional[bytes] = None, password: Optional[bytes] = None) -> None:
        self.config, self.password = config, password

    def __bool__(self) -> bool:
        return self.config is not None or self.password is not None


def read_given(path: Path, what: str) -> bytes:
    """A file that the user named. UnavailableError where it cannot be, or is none."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise UnavailableError(f"{path}: the {what} cannot be read ({err.strerror})") from err
    if not data.strip() or len(data) > LARGEST_BYTES:
        raise UnavailableError(f"{path}: {len(data)} bytes are no {what}")
    return data


def place(work: Work, path: Path, data: bytes) -> None:
    """Write a file that root and the daemon may read."""
    write_file(path, data, MODE, lambda beside: work.host.give(beside, "root", USER))


def keep(work: Work, path: Path, copy: Path) -> None:
    """Keep what is there beside it; where nothing is, nothing."""
    data = read_file(path)
    if data is not None and data != read_file(copy):
        place(work, copy, data)


def put_back(work: Work, path: Path, copy: Path) -> None:
    """The opposite of `keep`."""
    data = read_file(copy)
    if data is not None and data != read_file(path):
        place(work, path, data)


def place_first(work: Work, template: Path, wanted: Settings) -> Settings:
    """What there is nothing of yet is placed at once, as nothing runs with it; the rest is returned.

    Without a configuration, neither here nor given, the bundle's template becomes it.
    """
    layout = work.layout
    config, password = wanted.config, wanted.password
    if not layout.config.exists():
        place(work, layout.config, config if config is not None else template.read_bytes())
        work.told.step("config", f"{layout.config} was made" + ("" if config is not None else " from the template"))
        config = None
    if password is not None and not layout.password.exists():
        place(work, layout.password, password)
        password = None
    work.checkpoint("settings-placed")
    return Settings(config, password)


def changed(work: Work, config: Optional[bytes], password: Optional[bytes]) -> Settings:
    """What of this differs from what is on the board."""
    layout = work.layout
    return Settings(
        None if config == read_file(layout.config) else config,
        None if password == read_file(layout.password) else password,
    )


def remove_trial(work: Work) -> None:
    """The configuration that was only looked at."""
    remove_file(work.layout.config_trial)
