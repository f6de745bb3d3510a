"""Conducts a diagnosis: for each power mode idle floor, networks, pipeline; then what is done once."""

from __future__ import annotations

import platform
from dataclasses import replace

import edge_fer
from edge_fer.bench.figures import BaselineRow, Diagnosis, Load, Measured, PipelineRow, Row
from edge_fer.bench.modes import ModeChoice, choose_modes
from edge_fer.bench.networks import Contender, package_versions
from edge_fer.bench.plan import SECONDS_WITH_WATTS, SECONDS_WITHOUT, Plan, thread_counts
from edge_fer.bench.processor import read_processor
from edge_fer.bench.progress import Progress
from edge_fer.bench.reported import REPORTED
from edge_fer.bench.sensing import Senses, cores_online
from edge_fer.bench.speed import measure_idle, measure_speed
from edge_fer.bench.workshop import Place, Workshop
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.errors import UnavailableError
from edge_fer.events import rfc3339
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import Reading

BASELINE_SECONDS = 3.0
"""Of one row of TensorFlow."""


class Diagnosing:
    """A diagnosis that is being made; what is found so far may be asked for at any time."""

    def __init__(self, plan: Plan, progress: Progress, workshop: Workshop | None = None) -> None:
        """Nothing is measured yet. UsageError for a power mode that does not exist."""
        self._plan, self._progress, self._shop = plan, progress, workshop or Workshop()
        self._choices, warnings = choose_modes(plan)
        self._warnings = [*_elsewhere(plan.machine), *warnings]
        self._measured: list[Measured] = []
        self._baseline: list[BaselineRow] = []
        self._baseline_skipped = "" if plan.baseline else "not asked for: --baseline keras"
        self._load: Load | None = None
        self._board, self._started_at = "", rfc3339(self._shop.unix_ns())

    def run(self) -> None:
        """Measure everything, and leave the power mode as it was, whatever happens."""
        with self._shop.sensing(self._plan.machine) as senses:
            self._board = senses.board
            for choice in self._choices:
                with choice.applied() as applied:
                    self._measure_mode(choice, senses)
                    self._measure_once()
                    for note in (applied.settled.note, applied.note, applied.changed()) if applied else ():
                        self.warn(note)

    def found(self) -> Diagnosis:
        """What is found so far."""
        processor, own = read_processor(self._plan.machine), self._plan.machine.root == Machine().root
        return Diagnosis(
            version=edge_fer.__version__,
            board=self._board,
            processor=str(processor),
            # What another processor can do says nothing about speeds that are measured on this one.
            peak_gmacs_int8=processor.peak_gmacs_int8 if own else None,
            peak_gmacs_float32=processor.peak_gmacs_float32 if own else None,
            peak_note=processor.note if own else "the speeds are of another processor",
            python=platform.python_version(),
            packages=package_versions(),
            started_at=self._started_at,
            modes=tuple(self._measured),
            reported=tuple(row for network in self._plan.networks for row in REPORTED if row.network == network),
            baseline=tuple(self._baseline),
            baseline_asked=self._plan.baseline,
            baseline_skipped=self._baseline_skipped,
            load=self._load,
            warnings=tuple(self._warnings),
            files_below=None if own else str(self._plan.machine.root),
        )

    def warn(self, text: str) -> None:
        """Something that readers of the figures must know."""
        if text and text not in self._warnings:
            self._warnings.append(text)

    def _measure_mode(self, choice: ModeChoice, senses: Senses) -> None:
        reading = senses.watch.read_now()
        mode = _begin(choice, reading)
        self._measured.append(mode)
        for problem in reading.problems if reading else ():
            self.warn(problem)
        watts = mode.power_source != "unavailable"
        racing, counts = self._shop.contenders(self._plan.networks), self._counts(mode)
        self._progress.expect(watts + len(racing) * len(counts) + len(self._plan.clips))
        seconds = self._plan.seconds or (SECONDS_WITH_WATTS if watts else SECONDS_WITHOUT)
        place = Place(senses, seconds, None, no_watts="" if watts else mode.power_note)
        if watts:
            place = self._measure_idle(place)
        for contender in racing:
            for threads in counts:
                self._measure_row(contender, threads, place, choice)
        for uri in self._plan.clips:
            self._measure_pipeline(uri, place)

    def _counts(self, mode: Measured) -> list[int]:
        """Numbers of threads that this mode has cores for."""
        counts = thread_counts(self._plan.threads, self._shop.cores())
        if (left := sorted(set(self._plan.threads) - set(counts))) and self._plan.threads_given:
            named = ", ".join(map(str, left))
            self.warn(f"{mode.mode or 'now'}: {named} threads not measured, more than there are cores online")
        return counts

    def _measure_idle(self, place: Place) -> Place:
        """The floor that everything else stands on."""
        self._progress.step("idle floor")
        conditions = measure_idle(place.senses.watch, place.seconds, place.senses.clocks)
        self._change(idle_w=conditions.watts.total_w)
        if conditions.watts.total_w is None:
            return replace(place, no_watts=f"the idle floor was not measured: {conditions.watts.missing}")
        if conditions.disturbed:
            self.warn(f"while the idle floor was measured: {conditions.disturbed}")
        return replace(place, idle_w=conditions.watts.total_w)

    def _measure_row(self, contender: Contender, threads: int, place: Place, choice: ModeChoice) -> None:
        network, precision, runtime = contender
        self._progress.step(f"{network} {precision} on {runtime}, {threads} thread{'s' if threads > 1 else ''}")
        try:
            loaded = self._shop.load(contender, threads)
        except UnavailableError as err:
            self.warn(f"{network} {precision} on {runtime} was not measured: {err}")
            return
        speed = measure_speed(
            loaded.once,
            seconds=place.seconds,
            watch=place.senses.watch,
            idle_w=place.idle_w,
            no_energy=place.no_watts,
            clocks=place.senses.clocks,
        )
        nominal = speed.fps / choice.budget_w if choice.budget_w else None
        row = Row(*contender, threads, loaded.macs, loaded.xnnpack_operators, loaded.operators, speed, nominal)
        self._change(rows=(*self._measured[-1].rows, row))

    def _measure_pipeline(self, uri: CameraUri, place: Place) -> None:
        self._progress.step(f"whole pipeline, {uri}")
        try:
            row = self._shop.pipeline(uri, self._plan.networks[0], place)
        except UnavailableError as err:  # a clip may vanish, and a broker, while minutes are spent on other rows
            self.warn(f"the whole pipeline was not measured on {uri}: {err}")
        else:
            self._change(pipeline=(*self._measured[-1].pipeline, row))

    def _measure_once(self) -> None:
        """What belongs to the whole run: several cameras at once, and TensorFlow, which takes longest, last."""
        if self._plan.cameras is not None:
            self._progress.expect(1)
            self._progress.step(f"{self._plan.cameras} cameras at {self._plan.fps:g} fps")
            try:
                self._load = self._shop.cameras(self._plan)
            except UnavailableError as err:
                self.warn(f"several cameras were not measured: {err}")
        if self._plan.baseline:
            counts = thread_counts(self._plan.threads, self._shop.cores())
            self._progress.expect(len(self._plan.networks) * len(counts))
            for network in self._plan.networks:
                self._measure_baseline(network, counts)

    def _measure_baseline(self, network: NetworkName, counts: list[int]) -> None:
        for threads in counts:
            self._progress.step(f"{network} in TensorFlow, threads: {threads}")
            rows, skipped = self._shop.baseline(network, [threads], BASELINE_SECONDS)
            self._baseline.extend(rows)
            if skipped:
                self._baseline_skipped = skipped
                return

    def _change(
        self,
        *,
        rows: tuple[Row, ...] | None = None,
        pipeline: tuple[PipelineRow, ...] | None = None,
        idle_w: float | None = None,
    ) -> None:
        """Add to the mode that is being measured."""
        mode = self._measured[-1]
        self._measured[-1] = replace(
            mode,
            rows=mode.rows if rows is None else rows,
            pipeline=mode.pipeline if pipeline is None else pipeline,
            idle_w=mode.idle_w if idle_w is None else idle_w,
        )


def _elsewhere(machine: Machine) -> list[str]:
    if machine.root == Machine().root:
        return []
    return [f"Watts, temperatures, clocks and modes were read below {machine.root}; the speeds are this machine's own."]


def _begin(choice: ModeChoice, reading: Reading | None) -> Measured:
    """A mode of which nothing is measured yet."""
    online, cores, cpu_mhz = cores_online(reading.cores if reading else ())
    source = reading.power.source if reading else "unavailable"
    note = reading.power.reason if reading else "the sensors gave no reading"
    return Measured(
        mode=str(choice.mode) if choice.mode else None,
        mode_id=choice.mode.id if choice.mode else None,
        mode_name=choice.mode.name if choice.mode else None,
        budget_w=choice.budget_w,
        mode_note=choice.note,
        cores_online=online,
        cores=cores,
        cpu_mhz=cpu_mhz,
        idle_w=None,
        power_source=source,
        power_note=note,
        rows=(),
        pipeline=(),
    )
