"""Does the daemon's memory stay flat while one camera is dead, one is frozen and one is good?

    python tests/system/memory_soak.py [--minutes 20] [--limit-mb 1] [--work DIR] [--json]

A real mosquitto, and the daemon as its users start it, with three cameras: at the address of the first nothing listens,
the second is an MJPEG server that sends the same picture for ever, the third is the sample clip in a loop, in real
time. Every 2 s the daemon's memory, threads, files and children are counted; medians of the time after the warm-up and
of the end are compared.

Exit codes: 0 all is as it must be, 1 something is not, 69 a program that is needed is missing.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, fields
from pathlib import Path

import click
import soak_site  # its folders of servers and brokers are known from here on
from footprint import Footprint, FootprintSampler, Growth, Windows, growths
from realbrokers import MOSQUITTO, Mosquitto, free_port
from soak_checks import Check
from soak_record import MqttRecorder, Recording
from streamservers import MjpegServer

from edge_fer.capture.open import SAMPLE_CLIP
from edge_fer.errors import EdgeFerError, UnavailableError

DEAD, FROZEN, GOOD = "cellar", "door", "steady"
EXPECTED = {DEAD: "offline", FROZEN: "frozen", GOOD: "online"}

READY_S = 120.0
"""For the states above, models loaded and all."""

MORE_THREADS, MORE_FDS, MORE_CHILDREN = 1, 2, 1
"""The dead camera's attempts come and go; a leak is one for each of some forty in 20 minutes."""

MORE_CHILDREN_MB = 5.0
"""ffmpeg's memory is its own business, unless it grows without end."""


def run(minutes: float, work: Path, stack: ExitStack) -> tuple[list[Footprint], Recording, list[Check]]:
    """Start everything, watch it, end it; what was sampled and heard, and what is to be said about the run itself."""
    recording = Recording()
    broker = Mosquitto(work)
    stack.callback(broker.kill)
    recorder = MqttRecorder(broker.start().port, recording.heard)
    stack.callback(recorder.close)
    frozen = stack.enter_context(MjpegServer(size="640x480", fps=15, mode="freeze"))
    urls = {
        DEAD: f"rtsp://127.0.0.1:{free_port()}/none",
        FROZEN: frozen.url,
        GOOD: "sample:?loop=1&realtime=1",
    }
    daemon = _start(urls, broker.port, work, stack)
    sampler = FootprintSampler(daemon.pid)
    sampler.start()

    def states() -> dict[str, str]:
        return {name: told[-1].body["state"] for name in EXPECTED if (told := recording.statuses(name))}

    began_s = time.monotonic()
    recorder.wait_for(lambda: states() == EXPECTED, READY_S)
    checks = [Check("states at the beginning", states() == EXPECTED, str(states()))]
    while (left_s := began_s + minutes * 60 - time.monotonic()) > 0 and daemon.poll() is None:
        time.sleep(min(1.0, left_s))
    checks.append(Check("states at the end", states() == EXPECTED, str(states())))
    sampler.stop()
    daemon.send_signal(signal.SIGTERM)
    code = daemon.wait(60)
    checks.append(Check("exit code 0", code == 0, f"{code}"))
    return sampler.samples, recording, checks


def growth_checks(found: Sequence[Growth], limit_mb: float) -> list[Check]:
    """What may not grow, by how much."""
    limits = {
        "resident, MB": limit_mb,
        "threads": MORE_THREADS,
        "open files": MORE_FDS,
        "children": MORE_CHILDREN,
        "children resident, MB": MORE_CHILDREN_MB,
    }
    return [
        Check(
            f"growth: {one.name}",
            one.grown <= limits[one.name],
            f"{one.before:.2f} then {one.after:.2f}, {one.grown:+.3f}, at most {limits[one.name]:g} more",
        )
        for one in found
        if one.name in limits
    ]


def work_checks(recording: Recording) -> list[Check]:
    """A daemon that does nothing has flat memory too: faces were read, and the dead camera was tried again."""
    throughput = recording.throughput()
    cameras = throughput[-1].body["cameras"] if throughput else {}
    looked_at = {name: counts["captured"] - counts["dropped"] - counts["withheld"] for name, counts in cameras.items()}
    health = [heard.body for heard in recording.heard if heard.topic.endswith("/health")]
    tried = health[-1]["camera_restarts"].get(DEAD, 0) if health else 0
    events = len(recording.events())
    return [
        Check("pictures were looked at", looked_at.get(GOOD, 0) > 0, str(looked_at)),
        Check("there are events", events > 0, f"{events}"),
        Check("the dead camera is tried again", tried > 0, f"{tried} times"),
    ]


def _start(urls: dict[str, str], port: int, work: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    state = f'state_dir = "{work / "state"}"\n'
    (work / "memory.toml").write_text(state + soak_site.config(urls, port))
    command = [sys.executable, "-m", "edge_fer", "run", "--config", str(work / "memory.toml")]
    log = stack.enter_context((work / "daemon.log").open("wb"))
    daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=soak_site.ROOT)
    stack.callback(daemon.wait)
    stack.callback(daemon.kill)
    return daemon


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.5), default=20.0, show_default=True)
@click.option("--limit-mb", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Growth that fails it.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Keeps log, configuration and samples.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(minutes: float, limit_mb: float, work: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Does the daemon's memory stay flat while one camera is dead, one is frozen and one is good?"""
    if MOSQUITTO is None:
        raise UnavailableError("mosquitto is not installed: apt-get install mosquitto")
    if not SAMPLE_CLIP.exists():
        raise UnavailableError("the sample clip is missing: run `make models`")
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memory-")))
        folder.mkdir(parents=True, exist_ok=True)
        samples, recording, checks = run(minutes, folder.absolute(), stack)
        _save(samples, folder / "samples.csv")
    found = growths(samples, Windows.of_run(minutes))
    checks += [*work_checks(recording), *growth_checks(found, limit_mb)]
    (_tell_json if as_json else _tell)(found, checks)
    sys.exit(0 if all(check.passed for check in checks) else 1)


def _save(samples: Sequence[Footprint], path: Path) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Footprint)])
        table.writerows(astuple(sample) for sample in samples)


def _tell_json(found: Sequence[Growth], checks: Sequence[Check]) -> None:
    told = {
        "passed": all(check.passed for check in checks),
        "growth": [{**asdict(one), "grown": one.grown} for one in found],
        "checks": [asdict(check) for check in checks],
    }
    click.echo(json.dumps(told))


def _tell(found: Sequence[Growth], checks: Sequence[Check]) -> None:
    click.echo(f"{'':<24}{'after warm-up':>14}{'at the end':>14}{'grown':>10}{'per hour':>12}")
    for one in found:
        click.echo(f"{one.name:<24}{one.before:>14.2f}{one.after:>14.2f}{one.grown:>+10.3f}{one.per_hour:>+12.3f}")
    for check in checks:
        click.echo(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except EdgeFerError as err:
        click.echo(f"memory_soak: {err}", err=True)
        sys.exit(err.exit_code)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
