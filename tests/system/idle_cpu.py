"""CPU that idling saves on this machine: `python tests/system/idle_cpu.py CLIP [--seconds 30] [--idle-fps 2]`.

Plays a clip without faces in a loop as a live camera (ffmpeg decodes it in a child, whose CPU is not counted), with
idling off and on, and counts the CPU of the daemon's own process per second: all of it, and that of the main thread,
which looks at pictures; the rest reads and converts them, and measures whether they are frozen or dark.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from edge_fer.bench.flow import Nowhere  # noqa: E402
from edge_fer.config import load_config  # noqa: E402
from edge_fer.daemon import Daemon  # noqa: E402
from edge_fer.governor.settings import GovernorSettings  # noqa: E402
from edge_fer.service import running  # noqa: E402

WARM_UP_S = 4.0
"""The child starts, and idling begins a second after the first frame."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, per second."""

    idle: bool
    looked_at_fps: float
    withheld_fps: float
    dropped: int
    cpu_ms_per_s: float  # of the whole process
    main_cpu_ms_per_s: float


class _Clock(threading.Thread):
    """Notes what was used between two moments, while the daemon runs in the main thread."""

    def __init__(self, daemon: Daemon, seconds: float) -> None:
        super().__init__(daemon=True)
        self._daemon, self._seconds = daemon, seconds
        self._main_clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self.stop = threading.Event()
        self.cost: Cost | None = None

    def run(self) -> None:
        time.sleep(WARM_UP_S)
        begin = self._now()
        time.sleep(self._seconds)
        end = self._now()
        seconds, cpu_s, main_s, looked_at, withheld, dropped = (
            after - before for before, after in zip(begin, end, strict=True)
        )
        self.cost = Cost(
            idle=False,
            looked_at_fps=round(looked_at / seconds, 2),
            withheld_fps=round(withheld / seconds, 2),
            dropped=round(dropped),
            cpu_ms_per_s=round(cpu_s / seconds * 1000, 1),
            main_cpu_ms_per_s=round(main_s / seconds * 1000, 1),
        )
        self.stop.set()

    def _now(self) -> tuple[float, ...]:
        counts = self._daemon.inbox.counts()["hall"]
        main_s = time.clock_gettime(self._main_clock)
        return time.monotonic(), time.process_time(), main_s, counts.looked_at, counts.withheld, counts.dropped


def measure(clip: Path, seconds: float, *, idle: bool, idle_fps: float) -> Cost:
    """One run of the daemon."""
    loop = f"ffmpeg -loglevel error -nostdin -re -stream_loop -1 -i {clip} -an -f yuv4mpegpipe -pix_fmt yuv420p -"
    tables = {
        "node": "idle",
        "camera": {"hall": {"uri": f"exec:{loop}"}},
        "governor": {"idle": idle, "idle_after_s": 1.0, "idle_fps": idle_fps},
        "self_test": {"period_s": 0},
    }
    with running(load_config(None, tables), [Nowhere()]) as daemon:
        clock = _Clock(daemon, seconds)
        clock.start()
        daemon.run(clock.stop)
    if clock.cost is None:
        raise SystemExit(f"{clip}: the run ended early; is it a clip that ffmpeg can play?")
    return Cost(**{**asdict(clock.cost), "idle": idle})


def main() -> None:
    """Both runs, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--idle-fps", type=float, default=GovernorSettings().idle_fps)
    given = parser.parse_args()
    awake, idle = (measure(given.clip, given.seconds, idle=idle, idle_fps=given.idle_fps) for idle in (False, True))
    for cost in (awake, idle):
        sys.stdout.write(json.dumps(asdict(cost)) + "\n")
    sys.stdout.write(
        f"idle uses {idle.cpu_ms_per_s / awake.cpu_ms_per_s:.2f} of the CPU of the process, "
        f"{idle.main_cpu_ms_per_s / awake.main_cpu_ms_per_s:.2f} of that of its main thread\n"
    )


if __name__ == "__main__":
    main()
