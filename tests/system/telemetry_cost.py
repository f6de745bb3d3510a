"""What the telemetry of watts costs, as a share of a core: python tests/system/telemetry_cost.py

CPU time of this process and of the programs it runs, on copies of boards' files, with the defaults: sensors are read
every 2 s, the main loop looks for readings ten times a second, a message is made every 10 s. sysfs is a disk here, so
the kernel's own way to a sensor (an I2C bus) is not in it; programs are shell scripts, which cost more than the real
ones. Asking for the power mode (once a minute, nvpmodel here a Python script) stands apart. Exit code 1 over 0.5 %.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "boards"), str(HERE.parents[1])]

from fixture import BOARD_KEYS, add_energy, board_tree  # noqa: E402

from edge_fer.board_watch import BoardWatch  # noqa: E402
from edge_fer.config import Config  # noqa: E402
from edge_fer.messages import message  # noqa: E402
from edge_fer.power_modes.modes import open_power_modes  # noqa: E402
from edge_fer.sensors.machine import Machine  # noqa: E402
from edge_fer.sensors.readings import Reading  # noqa: E402
from edge_fer.sensors.sensors import Sensors  # noqa: E402
from edge_fer.sensors.settings import PowerSettings  # noqa: E402
from edge_fer.upkeep import PERIOD_NS  # noqa: E402

LIMIT_PERCENT = 0.5
READINGS, TURNS, MESSAGES = 200, 5000, 500
SAMPLE_S = PowerSettings().sample_s
TELEMETRY_S: float = Config.model_fields["telemetry_s"].default


class Queue:
    """Readings that wait, as the thread has them."""

    alive = True

    def __init__(self) -> None:
        self.waiting: list[Reading] = []

    def readings(self) -> list[Reading]:
        taken, self.waiting = self.waiting, []
        return taken


def cpu_s() -> float:
    """Of this process and of the programs that it has waited for."""
    programs = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + programs.ru_utime + programs.ru_stime


def cost_ms(work: Callable[[], object], times: int) -> float:
    """CPU time of one."""
    work()
    before_s = cpu_s()
    for _ in range(times):
        work()
    return (cpu_s() - before_s) / times * 1000


def measure(machine: Machine) -> tuple[float, float, float, float]:
    """CPU ms of a reading, of a turn that finds nothing new, of a message, of asking for the mode."""
    queue, clock = Queue(), itertools.count(0, round(SAMPLE_S * 1e9))
    now_ns = [0]
    # What is not asked each time is asked as often as it would be: time goes on by a period with each reading.
    sensors = Sensors(machine, clock_ns=lambda: now_ns[0])
    watch = BoardWatch(queue, boot_id="b", sample_s=SAMPLE_S, clock_ns=lambda: now_ns[0])

    def read() -> None:
        now_ns[0] = next(clock)
        queue.waiting.append(sensors.read())
        watch.turn()

    def tell() -> bytes:
        return message(watch.sample(), "lab").to_json()

    reading_ms = cost_ms(read, READINGS)
    if (machine.sys / "class" / "powercap" / "intel-rapl:0").exists():
        add_energy(machine, 10.0)
    modes = open_power_modes(machine)
    return reading_ms, cost_ms(watch.turn, TURNS), cost_ms(tell, MESSAGES), cost_ms(modes.current, 5)


def main() -> int:
    """Print a table; 1 where a board is over the limit."""
    worst = 0.0
    click.echo("| board | a reading, ms | a turn, ms | a message, ms | share of a core | asking for the mode, ms |")
    click.echo("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for key in BOARD_KEYS:
            machine = board_tree(key, Path(folder))
            os.environ["EDGE_FER_FAKE_BOARD"] = str(machine.root)
            reading_ms, turn_ms, message_ms, mode_ms = measure(machine)
            per_s_ms = reading_ms / SAMPLE_S + turn_ms / (PERIOD_NS / 1e9) + message_ms / TELEMETRY_S
            percent = per_s_ms / 10
            worst = max(worst, percent)
            click.echo(
                f"| {key} | {reading_ms:.2f} | {turn_ms:.4f} | {message_ms:.3f} | {percent:.3f} % | {mode_ms:.1f} |"
            )
    return int(worst > LIMIT_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
