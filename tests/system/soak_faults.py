"""An hour of faults, scripted: does every camera tell what it has, and does nothing wedge?

    python tests/system/soak_faults.py [--minutes 60] [--seed 1] [--work DIR] [--rss-limit-mb 10] [--json]

A real mosquitto, a real RTSP and two real MJPEG servers, and the daemon as its users start it, with four cameras: one
healthy (the sample clip), two that get faults, one where nothing ever listens. Every kind of fault is made at least
once, then all again in another order until the time is up, one at a time. Faults: frozen and dark pictures, a stalled
stream, garbage, damaged pictures, servers killed, stopped for 30 s and restarted with another size, ffmpeg children
killed and stopped, the broker killed. All MQTT messages are recorded, and the daemon's memory, threads, files and
children every second; soak_checks.py says what must be true of that. The same seed gives the same order.

Exit codes: 0 all is as it must be, 1 something is not, 69 a program that is needed is missing.
"""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
import pytest
from soak_checks import Check, all_checks, node_state, online_after, state_after
from soak_record import FaultRecord, MqttRecorder, ProcessSampler, Recording
from soak_site import BACK_S, DEAD, HEALTHY, MJPEG, PASSWORD, RTSP, CannotMakeError, Fault, Site

from edge_fer.errors import EdgeFerError, UnavailableError

READY_S = 120.0
"""For the first picture of all cameras, models loaded and all."""

CALM_S = 2.0
"""After a fault, before the daemon's memory and files count as those of quiet times."""


class CutShortError(Exception):
    """There is nothing to make faults in any more: the checks will tell."""


class Soak:
    """One run."""

    def __init__(self, site: Site, recording: Recording, recorder: MqttRecorder, minutes: float, seed: int) -> None:
        self._site, self._recording, self._recorder = site, recording, recorder
        self._sampler = ProcessSampler(site.daemon.pid, recording)
        self._minutes = minutes
        self._stop_s = 30.0 if minutes >= 10 else 8.0  # a short run is to have every fault too
        self._rest_s = min(15.0, max(3.0, minutes / 4))
        self._order = random.Random(seed)  # noqa: S311 - to repeat a run

    def run(self) -> None:
        """Everything from the first picture to the daemon's end, into the recording."""
        self._sampler.start()
        try:
            self._begin()
            for fault in self._schedule():
                self._rest()
                self._inject(fault)
            self._rest()
        except CutShortError as err:
            click.echo(f"soak: {err}", err=True)
        finally:
            self._finish()

    def _begin(self) -> None:
        if not self._wait(lambda: all(self._state(name) == "online" for name in (HEALTHY, RTSP, MJPEG)), READY_S):
            states = {name: self._state(name) for name in (HEALTHY, RTSP, MJPEG)}
            raise CutShortError(f"the cameras are not all online after {READY_S:.0f} s: {states}")
        self._wait(lambda: self._state(DEAD) == "offline", READY_S)
        self._wait(lambda: bool(self._recording.throughput()), READY_S)

    def _schedule(self) -> Iterator[Fault]:
        """Every fault once, whatever the time; then in another order until it is up."""
        until_s = time.monotonic() + self._minutes * 60
        faults, first = self._site.faults(self._stop_s), True
        while first or time.monotonic() < until_s:
            self._order.shuffle(faults)
            for fault in faults:
                if first or time.monotonic() < until_s:
                    yield fault
            first = False

    def _rest(self) -> None:
        self._wait(lambda: False, CALM_S)
        self._sampler.quiet.set()
        self._wait(lambda: False, self._rest_s)
        self._sampler.quiet.clear()

    def _inject(self, fault: Fault) -> None:
        began_s = time.monotonic()
        try:
            fault.make()
        except CannotMakeError as err:
            click.echo(f"{fault.name}: NOT made, {err}", err=True)
            self._recording.skipped.append(f"{fault.name}: {err}")
            return
        if fault.expected:
            self._wait(lambda: self._told(fault, began_s), fault.within_s)
        self._wait(lambda: False, began_s + fault.hold_s - time.monotonic())
        fault.undo()
        undone_s = time.monotonic()
        if fault.camera:
            self._wait(lambda: self._state(fault.camera) == "online", BACK_S)
        # A sample of telemetry after it shows that the loop still turns, and that the broker has it again.
        over_s = time.monotonic()
        self._wait(lambda: self._recording.throughput()[-1].t_s > over_s, BACK_S)
        record = FaultRecord(
            **{name: getattr(fault, name) for name in ("name", "camera", "expected", "within_s", "broker")},
            began_s=began_s,
            undone_s=undone_s,
            over_s=time.monotonic() if fault.broker else over_s,
            back_within_s=BACK_S,
        )
        self._recording.faults.append(record)
        click.echo(_line(self._recording, record), err=True)

    def _told(self, fault: Fault, began_s: float) -> bool:
        return any(
            heard.t_s >= began_s and heard.body["state"] in fault.expected
            for heard in self._recording.statuses(fault.camera)
        )

    def _state(self, camera: str) -> str:
        states = self._recording.statuses(camera)
        return str(states[-1].body["state"]) if states else ""

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a message that makes it true, or for the time; CutShortError where it has ended."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            if self._recorder.wait_for(condition, min(1.0, left_s)):
                return True
            if self._site.daemon.poll() is not None:
                last = (self._site.output("log").strip().splitlines() or ["no message"])[-1]
                raise CutShortError(f"the daemon has ended with {self._site.daemon.returncode}: {last}")
        return condition()

    def _finish(self) -> None:
        recording, daemon = self._recording, self._site.daemon
        self._sampler.stop()
        recording.stopped_s = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        try:
            recording.exit_code = daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
        recording.ended_after_s = time.monotonic() - recording.stopped_s
        self._recorder.wait_for(lambda: node_state(recording) == "offline", 5)
        recording.left_behind = self._sampler.survivors()
        recording.log = self._site.output("log")
        whole_lines = self._site.output("events").rpartition("\n")[0].splitlines()
        recording.printed = [json.loads(line) for line in whole_lines]


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0), default=60.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Order of the faults.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Keeps log, events and configuration.")
@click.option(
    "--rss-limit-mb",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Growth of memory from the first to the last quarter that fails the run; 0 only tells it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(minutes: float, seed: int, work: Path | None, rss_limit_mb: float, as_json: bool) -> None:  # noqa: FBT001
    """An hour of faults, scripted: does every camera tell what it has, and does nothing wedge?"""
    recording = Recording()
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        site = Site(folder.absolute(), stack)
        recorder = MqttRecorder(site.broker.port, recording.heard)
        stack.callback(recorder.close)
        Soak(site, recording, recorder, minutes, seed).run()
    checks = all_checks(recording, healthy=HEALTHY, others=[RTSP, MJPEG], secret=PASSWORD, rss_limit_mb=rss_limit_mb)
    (_tell_json if as_json else _tell)(recording, checks)
    sys.exit(0 if all(check.passed for check in checks) else 1)


def _tell_json(recording: Recording, checks: list[Check]) -> None:
    told = {
        "passed": all(check.passed for check in checks),
        "faults": [{**asdict(fault), "expected": sorted(fault.expected)} for fault in recording.faults],
        "skipped": recording.skipped,
        "checks": [asdict(check) for check in checks],
    }
    click.echo(json.dumps(told))


def _tell(recording: Recording, checks: list[Check]) -> None:
    click.echo(f"{'fault':<30}{'made':>5}{'told after s':>20}{'back after s':>20}")
    for name in sorted({fault.name for fault in recording.faults}):
        faults = [fault for fault in recording.faults if fault.name == name]
        times = [_times(recording, fault) for fault in faults]
        told = _span([told_s for told_s, _ in times])
        click.echo(f"{name:<30}{len(faults):>5}{told:>20}{_span([back_s for _, back_s in times]):>20}")
    for text in recording.skipped:
        click.echo(f"NOT made: {text}")
    fault_names = {fault.name for fault in recording.faults}
    of_faults = [check for check in checks if check.name.partition(":")[0] in fault_names]
    passed = sum(check.passed for check in of_faults)
    click.echo(f"\n{passed} of {len(of_faults)} checks of {len(recording.faults)} faults passed")
    for check in checks:
        if check not in of_faults or not check.passed:
            click.echo(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")


def _times(recording: Recording, fault: FaultRecord) -> tuple[float | None, float | None]:
    """Seconds from the beginning to the state that tells it, and from the end to pictures."""
    if not fault.camera:
        return None, None
    heard = state_after(recording, fault) if fault.expected else None
    online_s = online_after(recording, fault.camera, fault.undone_s)
    return heard and heard.t_s - fault.began_s, online_s and online_s - fault.undone_s


def _span(times_s: list[float | None]) -> str:
    known = [time_s for time_s in times_s if time_s is not None]
    return f"{statistics.median(known):.1f}, at most {max(known):.1f}" if known else "-"


def _line(recording: Recording, fault: FaultRecord) -> str:
    told_s, back_s = _times(recording, fault)
    told, back = ("-" if value is None else f"{value:.1f} s" for value in (told_s, back_s))
    return f"{fault.name}: told after {told}, back after {back}"


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except EdgeFerError as err:
        click.echo(f"soak_faults: {err}", err=True)
        sys.exit(err.exit_code)
    except pytest.skip.Exception as err:  # the servers are those of the tests: a program is missing
        click.echo(f"soak_faults: {err}", err=True)
        sys.exit(UnavailableError.exit_code)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
