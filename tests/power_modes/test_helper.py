"""A mode over MQTT: the daemon asks, the helper, which is root, checks and sets."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from powerboard import STATUS, Board, at_once

from edge_fer.errors import UnavailableError, UsageError
from edge_fer.power_modes.apply import applied
from edge_fer.power_modes.ask import SOCKET, ask_power_mode
from edge_fer.power_modes.choose import NoModesError
from edge_fer.power_modes.helper import LONGEST_MODE, main, serve, set_it
from edge_fer.power_modes.mode import NeedsRebootError
from edge_fer.sensors.machine import Machine

Boards = Callable[[str], Board]

UNITS = Path(__file__).parents[2] / "systemd"
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        ("15W", 0, "power mode 2 MODE_15W is set"),
        ("3", 0, "power mode 3 MODE_30W_ALL is set"),
        ("MAXN", 0, "power mode 0 MAXN is set"),
        ("7", 0, "power mode 7 MODE_15W_DESKTOP is set"),
        ("1", 69, "power mode 1 MODE_10W needs a reboot"),
        ("10W", 69, "power mode 1 MODE_10W needs a reboot"),
        ("99", 2, "there is no power mode '99'"),
        ("", 2, "'' is no power mode: letters, digits, _ and . only"),
        ("-m", 2, "'-m' is no power mode"),
        ("3;reboot", 2, "'3;reboot' is no power mode"),
        ("3 3", 2, "'3 3' is no power mode"),
        ("3\n", 2, "'3\\n' is no power mode"),
        ("../../etc", 2, "'../../etc' is no power mode"),
        ("\\x33", 2, "'\\\\x33' is no power mode"),
        ("\u0663", 2, "'\\u0663' is no power mode"),
        ("$(id)", 2, "'$(id)' is no power mode"),
        ("3" * (LONGEST_MODE + 1), 2, "333' is no power mode"),
    ],
)
def test_the_helper_sets_what_the_board_has_and_refuses_all_else(
    xavier: Board, wanted: str, code: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([wanted], {}, xavier.machine) == code
    told = capfd.readouterr().err
    assert text in told
    assert len(told.splitlines()) == 1
    assert (xavier.current == "7 MODE_15W_DESKTOP") == (code != 0 or wanted == "7")
    assert not (xavier.root / "rebooted").exists()


@given(st.text())
def test_no_word_gets_past_the_helper_of_a_machine_without_modes(wanted: str) -> None:
    code, text = set_it(wanted, Machine(Path("/nowhere"), ""))
    assert code in (2, 69)
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["1", "2"]])
def test_the_helper_takes_one_mode(xavier: Board, arguments: list[str]) -> None:
    assert main(arguments, {}, xavier.machine) == UsageError.exit_code


def test_the_helper_waits_for_no_measurement(xavier: Board) -> None:
    with applied(xavier.modes(), xavier.mode("MAXN"), settle=at_once):
        code, text = set_it("2", xavier.machine)
    assert (code, text[:30]) == (69, "busy: a measurement (process " + str(os.getpid())[:1])
    assert xavier.current == "7 MODE_15W_DESKTOP"


@pytest.fixture
def near() -> Iterator[Board]:
    """An AGX Xavier in a folder with a short name: that of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield Board("jetson-agx-xavier", Path(folder))


@contextmanager
def listening(board: Board, answer: Callable[[socket.socket], object] | None = None) -> Iterator[None]:
    """What systemd does for edge-fer-power-mode.socket: each connection gets a helper."""
    file = board.root / SOCKET
    file.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(file))
        server.listen()

        def take() -> None:
            client, _ = server.accept()
            with client:
                (answer or (lambda one: serve(one, board.machine)))(client)

        thread = threading.Thread(target=take)
        thread.start()
        yield
        thread.join(120)


def test_a_mode_is_asked_for_over_the_socket(near: Board) -> None:
    with listening(near):
        assert ask_power_mode("15W", near.machine) == "power mode 2 MODE_15W is set"
    assert near.current == "2 MODE_15W"


def test_what_the_helper_refuses_is_told(near: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")
    with listening(near), pytest.raises(UnavailableError, match="setting power mode 2 MODE_15W needs root"):
        ask_power_mode("15W", near.machine)


def test_a_helper_that_ends_without_an_answer_is_told(near: Board) -> None:
    with listening(near, lambda client: client.recv(100)), pytest.raises(UnavailableError, match="without an answer"):
        ask_power_mode("15W", near.machine)


def test_a_socket_without_a_helper_is_told(near: Board) -> None:
    file = near.root / SOCKET
    file.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(file))
    with pytest.raises(UnavailableError, match="cannot be asked: Connection refused"):
        ask_power_mode("15W", near.machine)


@pytest.mark.parametrize("sent", [b"", b"2", b"\xff\xfe\n", b"2\x00\n", b"9" * 1000, b"2; reboot\n", b"\n2\n"])
def test_the_helper_answers_whatever_is_sent_to_it(xavier: Board, sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        assert serve(ours, xavier.machine) == 0
        answer = theirs.recv(4096).decode()
    assert re.fullmatch(r"(ok|no) [^\n]+\n", answer)
    assert answer.startswith("ok") == (sent == b"2")


def test_a_client_that_sends_a_byte_now_and_then_is_not_waited_for(xavier: Board) -> None:
    """One helper at a time: whoever keeps it busy keeps everybody else away."""
    ours, theirs = socket.socketpair()
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.05):
            with contextlib.suppress(OSError):
                theirs.send(b"2")

    thread = threading.Thread(target=drip)
    thread.start()
    with ours, theirs:
        try:
            serve(ours, xavier.machine, timeout_s=0.5)
        finally:
            ended.set()
            thread.join()
    assert xavier.current == "7 MODE_15W_DESKTOP"


def test_the_connection_that_systemd_hands_over_is_taken(xavier: Board) -> None:
    """As a process, with the descriptor 3 and LISTEN_PID that sd_listen_fds(3) wants."""
    ours, theirs = socket.socketpair()
    program = (
        "import os, sys; from pathlib import Path; from edge_fer.power_modes.helper import main; "
        "from edge_fer.sensors.machine import Machine; os.dup2(int(sys.argv[1]), 3); "
        "environ = {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; "
        "sys.exit(main(['0-17-998'], environ, Machine(Path(sys.argv[2]), sys.argv[3])))"
    )
    with ours, theirs:
        arguments = [sys.executable, "-c", program, str(ours.fileno()), str(xavier.root), str(xavier.machine.path)]
        child = subprocess.Popen(arguments, pass_fds=[ours.fileno()], cwd=REPOSITORY)
        theirs.sendall(b"15W\n")
        assert child.wait(120) == 0
        assert theirs.recv(4096) == b"ok power mode 2 MODE_15W is set\n"


def use_systemctl(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_SYSTEMD", state)
    monkeypatch.setenv("EDGE_FER_FAKE_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("EDGE_FER_FAKE_UID", "1000")  # the daemon is not root; what systemd starts is


def test_a_mode_is_asked_for_by_systemctl_where_there_is_no_socket(
    xavier: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_systemctl(monkeypatch, "installed")
    assert ask_power_mode("15W", xavier.machine) == "power mode 2 MODE_15W is set"
    assert (xavier.root / STATUS).read_text().startswith("pmode:0002")


def test_a_cap_is_asked_for_on_a_board_without_nvpmodel(board: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    use_systemctl(monkeypatch, "installed")
    pi = board("raspberry-pi-5")
    assert ask_power_mode("1800MHz", pi.machine) == "power mode 1800MHz is set"
    assert pi.cap() == "1800000"
    with pytest.raises(NoModesError, match="no watt budgets"):
        ask_power_mode("15W", pi.machine)


def test_a_cap_that_was_set_on_a_hot_board_is_no_failure(board: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel shows its own, lower cap until the board has cooled down."""
    use_systemctl(monkeypatch, "installed")
    pi = board("raspberry-pi-5")
    program = Path(f"{pi.machine.path}/systemctl")
    real = program.rename(program.with_name("systemctl.real"))
    file = pi.machine.sys / "devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    program.write_text(f'#!/bin/sh\nEDGE_FER_FAKE_BOARD={pi.root} {real} "$@" && echo 1500000 > {file}\n')
    program.chmod(0o755)
    assert ask_power_mode("1800MHz", pi.machine) == "power mode 1800MHz is set"


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("missing", "the helper that may set power modes is not installed"),
        ("refused", "starting edge-fer-power-mode@2.service is not allowed: polkit refuses it"),
        ("no-bus", "systemd cannot be reached: System has not been booted with systemd"),
    ],
)
def test_what_is_in_the_way_of_the_helper_is_named(
    xavier: Board, monkeypatch: pytest.MonkeyPatch, state: str, why: str
) -> None:
    use_systemctl(monkeypatch, state)
    with pytest.raises(UnavailableError, match=re.escape(why)):
        ask_power_mode("15W", xavier.machine)
    assert xavier.current == "7 MODE_15W_DESKTOP"


def test_a_helper_that_fails_is_told_with_where_its_reason_is(xavier: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    use_systemctl(monkeypatch, "installed")
    monkeypatch.setenv("EDGE_FER_FAKE_FAULT", "silent")
    with pytest.raises(UnavailableError, match=r"failed; its reason: journalctl -u 'edge-fer-power-mode@2\.service'"):
        ask_power_mode("15W", xavier.machine)


def test_nothing_is_started_for_what_is_set_needs_a_reboot_or_does_not_exist(xavier: Board) -> None:
    machine = xavier.machine
    Path(f"{machine.path}/systemctl").unlink()
    assert ask_power_mode("7", machine) == "power mode 7 MODE_15W_DESKTOP is set already"
    with pytest.raises(NeedsRebootError):
        ask_power_mode("10W", machine)
    with pytest.raises(UsageError, match="no power mode 'banana'"):
        ask_power_mode("banana", machine)
    with pytest.raises(UnavailableError, match=r"not installed: .*there is no systemctl"):
        ask_power_mode("15W", machine)


def test_the_unit_gives_the_helper_its_instance_as_it_is_and_little_else() -> None:
    unit = (UNITS / "edge-fer-power-mode@.service").read_text()
    assert re.findall(r"^ExecStart=.*", unit, re.MULTILINE) == [
        "ExecStart=/opt/edge-fer/current/bin/python -I -m edge_fer.power_modes.helper %i"
    ]
    assert {"Type=oneshot", "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_DAC_OVERRIDE"} <= set(unit.splitlines())
    assert f"ListenStream=/{SOCKET}" in (UNITS / "edge-fer-power-mode.socket").read_text()


@pytest.mark.parametrize(
    ("unit", "allowed"),
    [
        ("edge-fer-power-mode@2.service", True),
        ("edge-fer-power-mode@MODE_15W.service", True),
        ("edge-fer-power-mode@1200MHz.service", True),
        ("edge-fer-power-mode@.service", False),
        ("edge-fer-power-mode@2.service.service", True),  # an instance named so, which the helper refuses
        ("edge-fer-power-mode@a\\x2db.service", False),
        ("edge-fer-power-mode@2.service\nx", False),
        ("xedge-fer-power-mode@2.service", False),
        ("edge-fer.service", False),
        ("sshd.service", False),
    ],
)
def test_the_polkit_rule_allows_this_unit_only(unit: str, allowed: bool) -> None:  # noqa: FBT001
    rule = (UNITS / "polkit/50-edge-fer-power-mode.rules").read_text()
    (pattern,) = re.findall(r"if \(/(.*)/\.test\(action\.lookup\(\"unit\"\)\)", rule)
    # In JavaScript $ is the end, and only that.
    assert bool(re.search(pattern.replace("$", r"\Z"), unit)) is allowed
    assert 'action.lookup("verb") !== "start"' in rule


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    try:
        version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    assert version.stdout.startswith("systemd")
    for unit in UNITS.glob("edge-fer-power-mode*"):
        # verify wants the program of ExecStart to exist.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/edge-fer/current/bin/python", "/bin/true"))
    names = [str(tmp_path / name) for name in ("edge-fer-power-mode.socket", "edge-fer-power-mode@.service")]
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])
