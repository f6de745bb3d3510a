from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge_fer.errors import UnavailableError
from edge_fer.memory.state_folder import LOCK_FILE, StateFolder, daemon_runs, read_file, replace_file, state_folder


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/edge-fer", "XDG_STATE_HOME": "/xdg", "HOME": "/home/a"}, "/var/lib/edge-fer"),
        ({"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}, "/var/lib/one"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/xdg"}, "/xdg/edge-fer/lab"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.local/state/edge-fer/lab"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/edge-fer/lab"),
    ],
)
def test_the_folder_is_systemds_or_the_users(environ: dict[str, str], folder: str) -> None:
    assert state_folder(None, "lab", environ) == Path(folder)


def test_the_configured_folder_goes_before_all() -> None:
    assert state_folder(Path("/srv/state"), "lab", {"STATE_DIRECTORY": "/var/lib/x"}) == Path("/srv/state")


def test_the_folder_is_made_and_closed_to_others(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "a" / "lab")
    assert folder.problem == ""
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.close()


def test_another_daemon_on_the_same_folder_is_refused_by_name_and_process(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    with pytest.raises(UnavailableError, match=rf"{tmp_path}: a daemon .* runs already \(process {os.getpid()}\)"):
        StateFolder(tmp_path)
    assert daemon_runs(tmp_path)
    first.close()
    assert not daemon_runs(tmp_path)
    StateFolder(tmp_path).close()


def test_a_killed_daemon_leaves_no_lock(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path; from edge_fer.memory.state_folder import StateFolder
        folder = StateFolder(Path({str(tmp_path)!r})); print("locked", flush=True); input()
    """
    with _child(code) as daemon:
        assert daemon.stdout
        assert daemon.stdout.readline() == "locked\n"
        with pytest.raises(UnavailableError, match=rf"\(process {daemon.pid}\)"):
            StateFolder(tmp_path)
        daemon.kill()
    assert not daemon_runs(tmp_path)
    StateFolder(tmp_path).close()


def test_what_stands_in_the_way_of_the_folder_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        folder = StateFolder(path)
        assert str(path) in folder.problem
        assert "forgotten at a restart" in folder.problem
        folder.close()
        assert not daemon_runs(path)


def test_a_lock_file_that_is_a_folder_still_locks(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).mkdir()
    first = StateFolder(tmp_path)
    with pytest.raises(UnavailableError, match="process unknown"):
        StateFolder(tmp_path)
    first.close()


def test_a_full_disk_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    told = _told(f"""
        import resource; from pathlib import Path; from edge_fer.memory.state_folder import StateFolder
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        print(StateFolder(Path({str(tmp_path)!r})).problem)
    """)
    assert "File too large; events that wait, open tracks and a pause are forgotten" in told
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_folder_that_may_not_be_written_is_a_problem_and_no_crash(open_folder: Path) -> None:
    """As another user, where the tests run as root: to root nothing is forbidden."""
    (open_folder / "lab").mkdir()
    (open_folder / "lab").chmod(0o555)
    told = _told(f"""
        import os; from pathlib import Path; from edge_fer.memory.state_folder import StateFolder
        os.getuid() or os.setresuid(65534, 65534, 65534)
        print(StateFolder(Path({str(open_folder / "lab")!r})).problem)
    """)
    assert "Permission denied" in told


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "pause.json.123.new").write_text("{")
    (tmp_path / "pause.json").write_text("{}")
    StateFolder(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK_FILE, "pause.json"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole_and_can_be_read_by_the_daemons_user(tmp_path: Path, *, durable: bool) -> None:
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        for content in (b"first", b"", b"second"):
            replace_file(path, content, durable=durable)
            assert read_file(path) == content
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_on_a_full_disk_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    told = _told(f"""
        import resource; from pathlib import Path; from edge_fer.memory.state_folder import replace_file
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try:
            replace_file(Path({str(path)!r}), b"new" * 10)
        except OSError as err:
            print(err.strerror)
    """)
    assert told == "File too large\n"
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_written_through_a_link_of_somebody_else(tmp_path: Path) -> None:
    treasure, path = tmp_path / "treasure", tmp_path / "file"
    treasure.write_text("mine")
    (tmp_path / f"file.{os.getpid()}.new").symlink_to(treasure)
    replace_file(path, b"new")
    assert treasure.read_text() == "mine"
    assert path.read_bytes() == b"new"


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no plain file"):
        read_file(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no plain file"):
        read_file(tmp_path)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(5_000_000)
    with pytest.raises(ValueError, match="larger than"):
        read_file(tmp_path / "large")


def _child(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _told(code: str) -> str:
    with _child(code) as child:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return out
