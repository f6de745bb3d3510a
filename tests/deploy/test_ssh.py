"""Against a real ssh server: what works, and what a user is told where it does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshservers import SshServer, make_key

from deploy.push import FOLDER, send_large, send_small
from deploy.ssh import CutOffError, connected
from deploy.target import Target
from edge_fer.errors import UnavailableError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    server = SshServer(tmp_path).start()
    yield server
    server.close()


@pytest.fixture
def home(server: SshServer) -> Iterator[str]:
    """A folder of the logged-in user that goes with the test; FOLDER is below it."""
    with tempfile.TemporaryDirectory(prefix="edge-fer-home-") as path:
        line = (server.work / "id.pub").read_text()
        command = f'command="cd {path} && HOME={path} && export HOME && eval \\"$SSH_ORIGINAL_COMMAND\\"" '
        (server.work / "authorized_keys").write_text(command + line)
        yield path


def target(server: SshServer) -> Target:
    return Target("127.0.0.1", server.user, server.port)


def refusal(server: SshServer, where: Target | None = None) -> str:
    with pytest.raises(UnavailableError) as caught, connected(where or target(server), server.config, terminal=False):
        pass
    return str(caught.value)


def test_commands_run_with_their_words_as_they_are(server: SshServer) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "`id`", "'", '"', "", "ü"]
    with connected(target(server), server.config, terminal=False) as connection:
        done = connection.run(words)
    assert done.out == "a b|$HOME|`id`|'|\"||ü|"


def test_exit_code_and_both_outputs_of_a_command_come_back(server: SshServer) -> None:
    with connected(target(server), server.config, terminal=False) as connection:
        assert connection.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")
        assert connection.follow(["sh", "-c", "exit 4"]) == 4


def test_all_calls_share_one_connection(server: SshServer) -> None:
    with connected(target(server), server.config, terminal=False) as connection:
        for _ in range(3):
            connection.run(["true"])
    assert (server.work / "sshd.log").read_text().count("Accepted publickey") == 1


def test_nothing_listens_at_the_port(server: SshServer) -> None:
    server.close()
    assert "nothing answers at this port; is its ssh server on?" in refusal(server)


def test_a_name_that_nobody_has(server: SshServer) -> None:
    assert "no machine has this name" in refusal(server, Target("no-such-board.invalid", "pi"))


def test_a_wrong_key_names_the_command_that_cures_it(server: SshServer) -> None:
    server.write_config(make_key(server.work / "other"))
    told = refusal(server)
    assert "does not take your key" in told
    assert f"ssh-copy-id -p {server.port} {server.user}@127.0.0.1" in told


def test_a_changed_host_key_names_what_forgets_the_old_one(server: SshServer) -> None:
    with connected(target(server), server.config, terminal=False):
        pass
    server.close()
    server.start("another_host_key")
    told = refusal(server)
    assert "its host key has changed" in told
    assert f"{server.known_hosts}:1" in told
    forget = re.search(r"ssh-keygen -R '(.*?)'", told)
    assert forget
    subprocess.run(["ssh-keygen", "-R", forget[1], "-f", str(server.known_hosts)], check=True, capture_output=True)
    with connected(target(server), server.config, terminal=False):
        pass


def test_an_unknown_host_key_is_not_taken_without_a_person(server: SshServer) -> None:
    server.write_config(checking="ask")
    assert "its host key is not known yet: ssh " in refusal(server)


def test_a_missing_ssh_configuration_is_named(server: SshServer) -> None:
    server.config.unlink()
    assert f"{server.config}: no such file" in refusal(server)


def test_a_connection_that_is_cut_says_that_the_board_goes_on(server: SshServer, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    cut = (
        "import pathlib, sys, time, psutil\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)\n"
        "for child in psutil.Process(int(sys.argv[2])).children(True): child.kill()\n"
    )
    with connected(target(server), server.config, terminal=False) as connection:
        cutter = subprocess.Popen([sys.executable, "-c", cut, str(begun), str(_daemon_pid(server))])
        with pytest.raises(CutOffError, match="what runs on the board goes on"):
            connection.follow(["sh", "-c", f"touch {begun}; sleep 60"])
        cutter.wait()


def test_a_small_file_is_whole_and_closed_to_others(server: SshServer, home: str) -> None:
    with connected(target(server), server.config, terminal=False) as connection:
        path = send_small(connection, b"\x00secret\n", "mqtt-password")
    sent = Path(home, path)
    assert sent.read_bytes() == b"\x00secret\n"
    assert sent.stat().st_mode & 0o777 == 0o600
    assert sent.parent.stat().st_mode & 0o077 == 0


@pytest.fixture
def large(tmp_path: Path) -> Path:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed (apt-get install rsync): uploads NOT tested")
    file = tmp_path / "edge-fer-1.tar"
    with file.open("wb") as out:
        for number in range(200):
            out.write(number.to_bytes(2, "big") * 50_000)
    return file


def test_a_large_file_arrives(server: SshServer, home: str, large: Path) -> None:
    with connected(target(server), server.config, terminal=False) as connection:
        send_small(connection, b"", "made")
        path = send_large(connection, large, lambda _text: None)
    assert Path(home, path).read_bytes() == large.read_bytes()


def test_an_upload_that_is_cut_goes_on(
    server: SshServer, home: str, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's processes are killed while rsync writes; the part that arrived is kept, and used."""
    monkeypatch.setattr("deploy.push.PAUSE_S", 0.1)
    slow = tmp_path / "bin" / "rsync"  # so slow that there is time to cut it
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nexec {shutil.which("rsync")} --bwlimit=4000 "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    told: list[str] = []
    with connected(target(server), server.config, terminal=False) as connection:
        send_small(connection, b"", "made")
        arriving = Path(home, FOLDER, large.name)
        script = (
            "import pathlib, sys, time, psutil\n"
            "path, pid = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n"
            "while not (path.exists() and path.stat().st_size > 1_000_000): time.sleep(0.001)\n"
            "for child in psutil.Process(pid).children(True): child.kill()\n"
        )
        cutter = subprocess.Popen([sys.executable, "-c", script, str(arriving), str(_daemon_pid(server))])
        path = send_large(connection, large, told.append)
        cutter.wait()
    assert Path(home, path).read_bytes() == large.read_bytes()
    assert len(told) == 1
    assert "a part of the file is kept" in told[0]


def _daemon_pid(server: SshServer) -> int:
    assert server._process
    return server._process.pid


def test_ending_this_side_ends_a_command_that_is_followed(server: SshServer) -> None:
    with connected(target(server), server.config, terminal=False) as connection:
        words = connection._command(["sleep", "60"])
        process = subprocess.Popen(words)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
