"""A machine to which edge-fer was deployed, as a user does it, and the record of all that its service publishes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from arm64_machine import ADDRESS, BROKER, Machine
from outside_record import Record
from realbrokers import wait_until

from deploy.checkout import PROJECT
from edge_fer.capture.open import SAMPLE_CLIP

NODE = "machine"
BASE = f"edge-fer/{NODE}"
STATE = "/var/lib/edge-fer"
FACES = "/srv/faces"
FRAMES = {"neutral": 0, "sadness": 120, "happiness": 320}
"""Of the sample clip, in which a woman is in view; what is read there is sure."""

LOOK_S = 900
"""For what takes some looks of the daemon: one look takes a second, and many on a machine that is busy elsewhere."""

DEPLOY_S = 3600

# Two cameras: the one that can be unplugged, and one with somebody who comes, looks otherwise every few seconds, and
# leaves. Each picture is there for some looks of such a machine: what is held for 100 ms must be seen twice.
CONFIGURATION = f"""
node = "{NODE}"
state_dir = "{STATE}"
telemetry_s = 5

[broker]
url = "mqtt://{BROKER}:1883"
keepalive_s = 10

[camera.front]
uri = "v4l2:/dev/video0?size=320x180&fps=5"
max_fps = 0.2

[camera.face]
uri = "images:{FACES}?fps=1&seconds=5&loop=1&realtime=1"

[detector]
model = "short"

[decide]
smoothing_ms = 100
settle_ms = 100
hold_ms = 100
cooldown_ms = 0

[self_test]
period_s = 0
"""

# In the guest, while the daemon has the database open: what waits there.
WAITING = """
import glob, json, sqlite3, sys
(path,) = glob.glob(sys.argv[1] + "/**/edge-fer.db", recursive=True)
database = sqlite3.connect("file:" + path + "?mode=ro", uri=True, timeout=20)
bodies = database.execute("SELECT body FROM event WHERE topic LIKE '%/events'")
print(json.dumps([json.loads(body)["id"] for (body,) in bodies]))
"""


class Deployed:
    """What a user does on the PC, and what can be seen from outside."""

    def __init__(self, machine: Machine, record: Record, work: Path, key: Path) -> None:
        self.machine, self.record, self._key = machine, record, key
        self.config = work / "machine.toml"
        self.config.write_text(CONFIGURATION)

    def deploy(self, bundle: Path | None = None) -> subprocess.Popen[str]:
        """`make deploy`, of a bundle or of this checkout; its gate is given the time of a machine that is emulated."""
        given: dict[str, str | Path] = {
            "BOARD": "generic-arm64",
            "HOST": f"root@{ADDRESS}:{self.machine.port}",
            "SSH_CONFIG": self.machine.ssh_config,
            "CONFIG": self.config,
            "KEY": self._key,
            "ARGS": "--gate-s 600",
            "PYTHON": sys.executable,
        }
        if bundle:
            given["BUNDLE"] = bundle
        command = ["make", "--no-print-directory", "deploy", *(f"{name}={value}" for name, value in given.items())]
        return subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def deployed(self, bundle: Path | None = None) -> str:
        """What `make deploy` says; it must succeed."""
        with self.deploy(bundle) as deploying:
            said = deploying.communicate(timeout=DEPLOY_S)[0]
        assert deploying.returncode == 0, f"exit code {deploying.returncode}\n{said}\n{self.machine.journal()}"
        return said

    def current(self) -> str:
        """The release that runs."""
        return self.machine.ssh("readlink /opt/edge-fer/current").strip().rpartition("/")[2]

    def send_faces(self) -> None:
        """What the camera `face` shows: pictures of the sample clip, and one of an empty room."""
        folder = self.config.with_name("faces")
        folder.mkdir(exist_ok=True)
        clip = cv2.VideoCapture(str(SAMPLE_CLIP))
        for name, number in FRAMES.items():
            clip.set(cv2.CAP_PROP_POS_FRAMES, number)
            read, picture = clip.read()
            assert read, f"the sample clip has no frame {number}"
            assert cv2.imwrite(str(folder / f"{number:04d}-{name}.png"), picture)
        room = np.linspace(40, 200, picture.size).reshape(picture.shape).astype(np.uint8)
        assert cv2.imwrite(str(folder / "9999-nobody.png"), room)
        self.machine.ssh(f"mkdir -p {FACES}")
        self.machine.send(f"{folder}/", f"{FACES}/")

    def unit(self) -> dict[str, str]:
        """What systemd says of the service."""
        shown = self.machine.ssh("systemctl show edge-fer.service")
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def waiting(self) -> set[str]:
        """Ids of the events that wait for the broker, read beside the daemon."""
        return set(json.loads(self.machine.ssh(shlex.join(["python3", "-c", WAITING, STATE]))))

    def boots(self) -> list[str]:
        """Of the daemon, in the order in which their first events came."""
        return list(dict.fromkeys(body["boot_id"] for _, body in self.record.events()))

    def camera(self, name: str) -> dict[str, Any]:
        """The newest state of a camera that was published."""
        return self.record.bodies(f"{BASE}/camera/{name}/status")[-1]

    def wait_for_camera(self, name: str, *states: str) -> dict[str, Any]:
        """Until it is in one of these states."""
        wait_until(lambda: self.record.bodies(f"{BASE}/camera/{name}/status"), LOOK_S)
        wait_until(lambda: self.camera(name)["state"] in states, LOOK_S)
        return self.camera(name)

    def wait_for_events(self, more: int, boot: str | None = None) -> None:
        """Until so many events have arrived that were not there before; of one boot of the daemon, or any."""
        before = self._events_of(boot)
        wait_until(lambda: len(self._events_of(boot) - before) >= more, LOOK_S)

    def _events_of(self, boot: str | None) -> set[str]:
        return {body["id"] for _, body in self.record.events() if boot in (None, body["boot_id"])}
