"""edge-fer on a whole arm64 machine: deployed by `make deploy`, then without its camera, its network and its power.

What the machine tells is held against a record that is kept outside of it, and against its disk as it was when the
power went, read without the machine. Event ids never repeat; numbers of rows do, and would hide a loss.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from arm64_machine import MEMORY_MB, Machine
from deployed import BASE, DEPLOY_S, LOOK_S, STATE, Deployed
from outside_record import Record, gaps, out_of_order, stored_ids, told_differently
from realbrokers import Mosquitto, wait_until
from releases import Bundles

from deploy.manifest import release_of
from deploy.signing import create_key

pytestmark = pytest.mark.vm

CUTS = 5
SEED = int(os.environ.get("EDGE_FER_VM_SEED") or time.time_ns() % 1_000_000)
"""Of the moments of the power cuts; printed, so that they can be had again."""


@pytest.fixture(scope="module")
def record(folder: Path, outside: Mosquitto) -> Iterator[Record]:
    one = Record(outside.port, folder / "record.txt")
    yield one
    one.close()


@pytest.fixture(scope="module")
def bundles(folder: Path) -> Bundles:
    """Newer releases, and the key that signs all of them."""
    return Bundles(folder / "bundles", "generic-arm64")


@pytest.fixture(scope="module")
def board(machine: Machine, record: Record, folder: Path, bundles: Bundles) -> Deployed:
    """With edge-fer on it."""
    create_key(bundles.key)
    one = Deployed(machine, record, folder, bundles.key)
    one.send_faces()
    began_s = time.monotonic()
    print(f"{one.deployed()}deployed in {time.monotonic() - began_s:.0f} s")  # noqa: T201
    return one


def test_a_deployment_ends_with_a_service_that_is_heard_outside(board: Deployed) -> None:
    board.wait_for_events(3)
    assert board.record.payloads(f"{BASE}/status")[-1] == "online"
    unit = board.unit()
    assert (unit["ActiveState"], unit["UnitFileState"], unit["NRestarts"]) == ("active", "enabled", "0")
    assert unit["StatusText"].startswith("online; broker connected")


def test_the_service_is_confined_by_a_real_kernel(board: Deployed) -> None:
    """A container does not enforce all of it."""
    unit = board.unit()
    status = board.machine.ssh(f"cat /proc/{unit['MainPID']}/status")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split()[0] != "0"
    assert (int(told["CapEff"], 16), told["NoNewPrivs"], told["Seccomp"]) == (0, "1", "2")
    allowed = int(board.machine.ssh(f"cat /sys/fs/cgroup{unit['ControlGroup']}/memory.max"))
    assert allowed == pytest.approx(0.6 * MEMORY_MB * 2**20, rel=0.1)


def test_a_camera_is_unplugged_and_plugged_in_again(board: Deployed) -> None:
    board.wait_for_camera("front", "online")
    board.machine.unplug_camera()
    assert board.wait_for_camera("front", "offline", "stalled")["reason"]
    assert board.camera("face")["state"] == "online", "the other camera has nothing to do with it"
    board.machine.plug_camera()
    board.wait_for_camera("front", "online")
    assert board.unit()["NRestarts"] == "0"


def test_the_network_cable_is_pulled_and_put_back(board: Deployed) -> None:
    board.wait_for_events(2)
    board.machine.unplug_network()
    wait_until(lambda: "broker not connected" in board.unit()["StatusText"], LOOK_S)
    wait_until(lambda: len(board.waiting() - board.record.ids()) >= 4, LOOK_S)
    waiting = board.waiting()
    board.machine.plug_network()
    wait_until(lambda: waiting <= late_ids(board.record), LOOK_S)
    wait_until(lambda: "broker connected" in board.unit()["StatusText"], LOOK_S)
    assert gaps(board.record.events()) == {}
    assert board.unit()["NRestarts"] == "0"


def test_five_power_cuts_lose_no_event_that_was_on_the_disk_or_acknowledged(board: Deployed, tmp_path: Path) -> None:
    """Before every second cut the cable is out, so that what is decided is on the disk alone.

    What another program could read in the database just before the cut, the daemon took for safe.
    """
    print(f"EDGE_FER_VM_SEED={SEED}")  # noqa: T201
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    expected: set[str] = set()
    waited: set[str] = set()
    before = len(board.boots())
    for cut in range(CUTS):
        board.wait_for_events(2, board.boots()[-1])
        if cut % 2:
            board.machine.unplug_network()
            wait_until(lambda: len(board.waiting() - board.record.ids()) >= 2, LOOK_S)
        time.sleep(chance.uniform(0, 10))
        safe = board.waiting()
        board.machine.power_cut()
        stored = stored_ids(board.machine.files_on_disk(STATE, tmp_path / f"disk-{cut}"))
        heard = board.record.ids()
        assert safe <= stored | heard, "what was in the database was not on the disk"
        waited |= stored - heard
        expected |= stored | heard
        print(f"cut {cut}: {len(heard)} events heard, {len(stored)} on the disk, {len(stored - heard)} only there")  # noqa: T201
        boots = len(board.boots())
        took_s = board.machine.start()
        wait_until(partial(told_by_another_boot, board, boots), LOOK_S)
        print(f"cut {cut}: lets us in after {took_s:.0f} s, and tells events again")  # noqa: T201
    assert waited, "no event waited on the disk: the test has tested nothing"
    wait_until(lambda: expected <= board.record.ids(), LOOK_S)
    wait_until(lambda: not board.waiting() & expected, LOOK_S)
    check(board, waited)
    assert len(board.boots()) == before + CUTS, "the service did not come back once after each cut"


def test_power_cuts_during_deployments_leave_a_release_that_runs(board: Deployed, bundles: Bundles) -> None:
    """The old one or the new one, without anybody's help; and the deployment can be repeated."""
    print(f"EDGE_FER_VM_SEED={SEED}")  # noqa: T201
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    for number, step in enumerate(("unpack", "doctor", "gate"), 2):
        bundle, before, boots = bundles.well(f"0.{number}.0"), board.current(), len(board.boots())
        cut_during(board, bundle, step, chance.uniform(0, 8))
        board.machine.start()
        wait_until(partial(board.machine.succeeds, "/opt/edge-fer/edge-fer-release status"), LOOK_S)
        wait_until(partial(told_by_another_boot, board, boots), LOOK_S)
        print(f"cut at {step}: {before} -> {board.current()}")  # noqa: T201
        assert board.current() in (before, release_of(bundle))
    board.deployed(bundle)
    assert board.current() == release_of(bundle)
    board.wait_for_events(2)
    check(board, set())


def cut_during(board: Deployed, bundle: Path, step: str, later_s: float) -> None:
    """Deploy, and cut the power some time after this step has begun."""
    said = []
    with board.deploy(bundle) as deploying:
        assert deploying.stdout is not None
        for line in deploying.stdout:
            said.append(line)
            if line.startswith(step):
                break
        else:
            pytest.fail(f"the deployment ended before the step {step}:\n{''.join(said)}")
        time.sleep(later_s)
        board.machine.power_cut()
        deploying.communicate(timeout=DEPLOY_S)
    assert deploying.returncode, "it was told as a success"


def check(board: Deployed, waited: set[str]) -> None:
    """What must be true of all that was heard."""
    events = board.record.events()
    assert told_differently(events) == set(), "an id came twice, for different events"
    assert waited <= late_ids(board.record), "an event that waited for the next boot came as if it were live"
    assert gaps(events) == {}, "an event was lost"
    assert out_of_order(events) == set()
    unit = board.unit()
    assert (unit["ActiveState"], unit["NRestarts"]) == ("active", "0"), "it came back, but not by itself"


def told_by_another_boot(board: Deployed, boots: int) -> bool:
    """Whether there are events of more boots of the daemon."""
    return len(board.boots()) > boots


def late_ids(record: Record) -> set[str]:
    """Of the events that were told as history."""
    return {body["id"] for _, body in record.events() if body["replayed"]}
