"""The arm64 machine itself: what the tests of a board that loses its power, its network and its camera rely on."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from arm64_machine import ADDRESS, BROKER, Machine
from realbrokers import Mosquitto, Subscriber, wait_until

pytestmark = pytest.mark.vm

FRAME = Path(__file__).with_name("camera_frame.py")
PUBLISH = f"mosquitto_pub -h {BROKER} -q 1 -t edge-fer/machine/test"


def test_it_is_a_whole_arm64_debian(machine: Machine) -> None:
    assert machine.ssh("uname -m; ps -o comm= 1").split() == ["aarch64", "systemd"]
    wait_until(lambda: machine.ssh("systemctl is-system-running || true").strip() == "running", 120)
    off_s = float(machine.ssh("date +%s")) - time.time()
    assert abs(off_s) < 60, "its clock is wrong"


def test_its_camera_gives_moving_pictures(machine: Machine) -> None:
    seen = picture(machine)
    assert seen["name"].startswith("vivid")
    assert set(seen["bytes"]) == {seen["width"] * seen["height"] * 2}, "YUYV has two bytes for each pixel"
    assert seen["levels"] >= 8, "the test pattern has eight bars"
    assert seen["differ"], "it stands still"


def test_the_camera_is_unplugged_and_plugged_in_again(machine: Machine) -> None:
    machine.unplug_camera()
    assert not machine.succeeds("test -e /dev/video0")
    machine.plug_camera()
    assert picture(machine)["differ"]


def test_the_broker_takes_several_connections_at_once(machine: Machine, outside: Mosquitto) -> None:
    heard = Subscriber(outside.port)
    listeners = " & ".join([f"mosquitto_sub -h {BROKER} -q 1 -W 60 -C 1 -t edge-fer/machine/go"] * 3)
    with subprocess.Popen(machine.ssh_words(f"{listeners} & wait"), stdout=subprocess.PIPE, text=True) as waiting:
        wait_until(lambda: outside.log().count("edge-fer/machine/go (QoS 1)") == 3)
        machine.ssh(f"{PUBLISH} -m first && {PUBLISH} -m second")
        machine.ssh(f"mosquitto_pub -h {BROKER} -q 1 -t edge-fer/machine/go -m now")
        assert waiting.communicate(timeout=90)[0].split() == ["now"] * 3
    assert heard.payloads("edge-fer/machine/test") == [b"first", b"second"]
    heard.close()


def test_a_large_message_arrives_whole(machine: Machine, outside: Mosquitto) -> None:
    heard = Subscriber(outside.port)
    machine.ssh(f"head -c 1000000 /dev/zero | tr '\\0' x | {PUBLISH} -s")
    wait_until(lambda: heard.on("edge-fer/machine/test"))
    assert heard.payloads("edge-fer/machine/test") == [b"x" * 1_000_000]
    heard.close()


def test_nothing_else_outside_can_be_reached(machine: Machine, outside: Mosquitto) -> None:
    """The host's own address in such networks is 10.0.2.2; restrict=on closes it."""
    connect = "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)'"
    assert machine.succeeds(f"{connect} {BROKER} 1883")
    assert not machine.succeeds(f"{connect} 10.0.2.2 {outside.port}")
    assert not machine.succeeds("ip route | grep -q default"), "it knows a way out"


def test_its_network_is_unplugged_and_plugged_in_again(machine: Machine) -> None:
    machine.unplug_network()
    wait_until(lambda: "0" in machine.ssh("cat /sys/class/net/eth0/carrier 2>/dev/null || echo 0"))
    assert not machine.succeeds(f"timeout 10 {PUBLISH} -m lost")
    machine.plug_network()
    wait_until(lambda: machine.succeeds(f"timeout 20 {PUBLISH} -m back"), 60)


def test_the_port_of_the_cable_that_is_pulled_is_that_of_the_deployment(machine: Machine) -> None:
    through_lan = ["ssh", "-F", str(machine.ssh_config), "-p", str(machine.port), ADDRESS, "--", "echo $SSH_CONNECTION"]
    assert subprocess.check_output(through_lan, text=True).split()[2:] == ["10.0.2.15", "22"]


def test_a_power_cut_keeps_what_was_flushed_and_nothing_else(machine: Machine, tmp_path: Path) -> None:
    """A writer flushes every line, and tells of it; another one never flushes."""
    machine.ssh("rm -rf /root/cut && mkdir /root/cut && sync")
    with subprocess.Popen(machine.ssh_words(f"python3 -uc '{WRITER}'"), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(20)]
        machine.power_cut()
        told += [int(line) for line in writer.stdout.read().split()]
    kept = machine.files_on_disk("/root/cut", tmp_path / "disk")
    lines = [int(line) for line in (kept / "flushed").read_text().split("\n")[:-1]]
    assert lines[: len(told)] == told, "what was flushed is lost"
    assert lines == list(range(len(lines))), "damaged"
    unflushed = kept / "unflushed"
    assert not unflushed.exists() or len(unflushed.read_bytes()) < 2 * len(lines), "nothing was in memory alone: no cut"
    took_s = machine.start()
    assert machine.ssh("cat /root/cut/flushed") == (kept / "flushed").read_text(), "its disk is not what was read"
    print(f"on again after {took_s:.0f} s, with {len(lines)} lines of which {len(told)} were told")  # noqa: T201


def test_what_is_on_the_disk_is_read_only_while_it_is_off(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="it is running"):
        machine.files_on_disk("/etc", tmp_path / "disk")


WRITER = """
import os
flushed = os.open("/root/cut/flushed", os.O_WRONLY | os.O_CREAT)
unflushed = os.open("/root/cut/unflushed", os.O_WRONLY | os.O_CREAT)
os.fsync(os.open("/root/cut", os.O_RDONLY))
number = 0
while True:
    os.write(unflushed, b"x\\n" * 100)
    os.write(flushed, b"%d\\n" % number)
    os.fsync(flushed)
    print(number)
    number += 1
"""


def picture(machine: Machine) -> dict[str, Any]:
    """Two pictures of the camera, told of by a program in the guest that uses the kernel's interface."""
    machine.send(FRAME, "/root/")
    return dict(json.loads(machine.ssh("python3 /root/camera_frame.py")))
