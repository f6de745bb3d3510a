"""The program as a process: with the Pythons of old boards, one change at a time, however its connection ends."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakeboard import SCRIPTS, Board, call
from signedbundle import bundle, release_of

from deploy.agent import SOURCE, build_agent
from deploy.release.detach import detached
from deploy.release.lock import Lock
from deploy.release.told import LOG_BYTES, Told

QUICK = ("--gate-s", "3", "--hold-s", "0.6")


def old_python(version: str) -> str:
    """One of this version; skips, loudly, where there is none."""
    found = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    found = found or next(iter(glob.glob(str(Path.home() / f".pyenv/versions/{version}*/bin/python{version}"))), None)  # noqa: PTH207
    if found is None:
        pytest.skip(f"no Python {version} on this machine: boards that have it are NOT tested")
    return found


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    made = Board(tmp_path, monkeypatch)
    yield made
    made.run("systemctl", "stop", "edge-fer.service")


@pytest.fixture
def agent(tmp_path: Path) -> str:
    return str(build_agent(tmp_path / "edge-fer-release"))


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_with_the_pythons_of_old_boards(board: Board, agent: str, tmp_path: Path, version: str) -> None:
    python = old_python(version)
    path = bundle(tmp_path, board.signer)
    found = call(board, "facts", "--json", python=python, program=agent)
    assert json.loads(found.stdout)["machine"] == "aarch64", found.stderr
    shown = call(board, "status", python=python, program=agent)
    assert (shown.returncode, shown.stderr) == (69, "")
    assert "not deployed" in shown.stdout
    done = call(board, "install", str(path), "--trust", str(board.trust), *QUICK, python=python, program=agent)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "done" in done.stdout.splitlines()[-1]
    shown = call(board, "status", "--json", python=python, program=agent)
    assert shown.returncode == 0, shown.stdout
    told = json.loads(shown.stdout)
    assert told["current"] == release_of(path)
    assert told["unit"]["status"].startswith("online; broker connected")
    assert told["releases"][0]["board"] == "jetson-nano"
    assert board.layout.agent.read_bytes() == Path(agent).read_bytes()  # it stays, for the next boot
    assert board.layout.agent_link.readlink() == board.layout.agent
    # The next board's life: an upgrade that fails, by the program that is on the board now.
    bad = bundle(tmp_path, board.signer, "crashes", "0.2.0")
    done = call(board, "install", str(bad), *QUICK, python=python, program=str(board.layout.agent))
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert f"{release_of(path)} runs again" in done.stdout
    done = call(board, "confirm", python=python, program=agent)
    assert (done.returncode, "no switch is pending" in done.stdout) == (0, True)
    done = call(board, "undeploy", "--purge", python=python, program=str(board.layout.agent))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert not board.layout.home.exists()
    assert not board.layout.etc.exists()


@pytest.mark.parametrize("version", ["3.6", "3.8"])
def test_old_pythons_compile_all_of_it(tmp_path: Path, version: str) -> None:
    shutil.copytree(SOURCE, tmp_path / "release", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [old_python(version), "-m", "compileall", "-q", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_only_the_standard_library(agent: str) -> None:
    listed = "import sys; sys.path.insert(0, sys.argv[1]); import deploy.release.commands; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", listed, agent], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stdout.split()} - {"deploy", "__main__"}
    assert modules <= sys.stdlib_module_names
    assert "deploy.release.install" in done.stdout.split()


def test_the_agent_is_reproducible(tmp_path: Path) -> None:
    first = build_agent(tmp_path / "one" / "agent").read_bytes()
    second = build_agent(tmp_path / "agent").read_bytes()
    assert first == second
    assert first.startswith(b"#!/usr/bin/env python3\n")
    assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["install"], ["install", "x", "--gate-s", "0"], ["install", "x", "--keep", "0"], ["rollback", "x"]],
)
def test_usage(board: Board, words: list[str]) -> None:
    done = call(board, *words)
    assert done.returncode == 2
    assert "usage: edge-fer-release" in done.stderr
    assert "Traceback" not in done.stderr


def test_help(board: Board) -> None:
    done = call(board, "--help")
    assert done.returncode == 0
    assert "78" in done.stdout


def test_errors_have_no_traceback(board: Board, tmp_path: Path) -> None:
    done = call(board, "install", str(tmp_path / "nowhere.tar"))
    assert done.returncode == 69
    assert done.stdout.startswith("error      ")
    assert "nowhere.tar: cannot be read" in done.stdout
    (tmp_path / "x.tar").write_bytes(b"x" * 5000)
    done = call(board, "install", str(tmp_path / "x.tar"))
    assert done.returncode == 1
    assert "no bundle" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_without_rights(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    before = board.tree()
    for command in (["install", "x"], ["rollback"], ["undeploy"], ["confirm"]):
        done = call(board, *command)
        assert done.returncode == 69
        assert "only root can do that; use sudo" in done.stdout
    assert board.tree() == before
    assert not board.layout.home.exists()
    assert call(board, "facts", "--json").returncode == 0
    assert tmp_path.exists()


def test_a_closed_output_does_not_stop_it(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    command = [sys.executable, "-m", "deploy.release", "--root", str(board.root), "install", str(path)]
    process = subprocess.Popen(
        [*command, "--trust", str(board.trust), *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": str(board.programs)},
        cwd=SOURCE.parents[1],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"signature")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
    assert board.running == release_of(path)
    assert "done" in board.layout.log_file.read_text().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_cut_connection_does_not_stop_it(board: Board, tmp_path: Path, number: signal.Signals) -> None:
    path = bundle(tmp_path, board.signer)
    command = [sys.executable, "-m", "deploy.release", "--root", str(board.root), "install", str(path)]
    process = subprocess.Popen(
        [*command, "--trust", str(board.trust), *QUICK],
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": str(board.programs)},
        cwd=SOURCE.parents[1],
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"signature")
    os.killpg(process.pid, number)  # all that sshd or sudo can reach
    process.wait(10)
    process.stdout.close()
    repeated = call(board, "install", str(path), "--trust", str(board.trust), *QUICK)  # waits for the first
    assert repeated.returncode == 0, repeated.stdout
    assert "install since" in repeated.stdout
    assert "nothing to do" in repeated.stdout
    assert board.running == release_of(path)
    assert board.started == [release_of(path)]


def test_one_change_at_a_time(board: Board) -> None:
    with Lock(board.work(), "test"):
        done = subprocess.Popen(
            [sys.executable, "-m", "deploy.release", "--root", str(board.root), "confirm"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": str(board.programs)},
            cwd=SOURCE.parents[1],
        )
        assert done.stdout is not None
        line = done.stdout.readline()
        assert line.startswith(b"wait       test since ")
        assert done.poll() is None
    assert b"no switch is pending" in done.stdout.read()
    assert done.wait(10) == 0
    done.stdout.close()


def test_a_lock_that_never_comes(board: Board) -> None:
    from deploy.release.errors import UnavailableError

    with Lock(board.work(), "test"), pytest.raises(UnavailableError, match=r"test since .* still changes this board"):
        Lock(board.work(), "other", wait_s=5)


def test_a_lock_whose_file_was_removed(board: Board) -> None:
    first = Lock(board.work(), "undeploy")
    board.layout.lock_file.unlink()
    with Lock(board.work(), "install"):
        assert board.layout.lock_file.exists()
    first.__exit__()


def test_exit_codes_of_what_is_detached() -> None:
    assert detached(lambda: 42) == 42
    assert detached(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0) == 128 + signal.SIGKILL
    leader = os.getsid(0)
    assert detached(lambda: 0 if os.getsid(0) != leader else 1) == 0


def test_ctrl_c_while_it_goes_on(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    command = [sys.executable, "-m", "deploy.release", "--root", str(board.root), "install", str(path)]
    process = subprocess.Popen(
        [*command, "--trust", str(board.trust), *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": str(board.programs)},
        cwd=SOURCE.parents[1],
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
    rest = process.stdout.read()  # up to the end of the child, which has it too
    assert b"goes on without a terminal" in process.stderr.read()
    assert b"done" in rest.splitlines()[-1]
    assert board.running == release_of(path)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: fake programs NOT checked")
def test_the_fake_programs_have_no_flaw_that_shellcheck_knows() -> None:
    subprocess.run(["shellcheck", *sorted(SCRIPTS.iterdir())], check=True)


def test_a_log_that_stays_small(tmp_path: Path) -> None:
    log = tmp_path / "deploy.log"
    log.write_bytes(b"0123456789abcde\n" * (LOG_BYTES // 16 + 10))
    Told(log).step("test", "a line\x1b")
    assert log.stat().st_size < LOG_BYTES * 0.6
    assert log.read_text().splitlines()[0] == "0123456789abcde"
    assert "test       a line" in log.read_text().splitlines()[-1]
    time.strptime(log.read_text().splitlines()[-1][:20], "%Y-%m-%dT%H:%M:%SZ")
