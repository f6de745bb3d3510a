"""Boards whose clock and load are a script: each image takes what the script says, and the files follow the load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fixture import add_energy

from edge_fer.bench.figures import PipelineRow
from edge_fer.bench.networks import Contender, Loaded
from edge_fer.bench.plan import Plan
from edge_fer.bench.sensing import SAMPLE_S, Senses
from edge_fer.bench.speed import speed_of
from edge_fer.bench.window import Busy, Clocks, Window
from edge_fer.bench.workshop import Place, Workshop
from edge_fer.capture.uri import CameraUri
from edge_fer.classify import NetworkName
from edge_fer.sensors.machine import Machine
from edge_fer.sensors.readings import Reading
from edge_fer.sensors.sensors import Sensors

SAMPLE_NS = int(SAMPLE_S * 1e9)
STARTED_UNIX_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z

CONTENDERS = [
    Contender("nano_b", "int8", "litert"),
    Contender("nano_b", "float32", "litert"),
    Contender("nano_a", "int8", "litert"),
]

IMAGE_MS = {
    ("nano_b", "int8", 1): 2.0,
    ("nano_b", "int8", 2): 1.25,
    ("nano_b", "float32", 1): 5.0,
    ("nano_b", "float32", 2): 2.5,
    ("nano_a", "int8", 1): 3.2,
    ("nano_a", "int8", 2): 2.0,
}

I2C = {
    # Board -> the file that shows its load, and what stands there idle and at work.
    "jetson-nano": ("6-0040/iio:device0/in_power0_input", 5600, 8000),
    "jetson-agx-xavier": ("1-0040/hwmon/hwmon3/curr1_input", 100, 350),
    "jetson-xavier-nx": ("7-0040/hwmon/hwmon4/curr1_input", 820, 1220),
    "jetson-orin-nano": ("1-0040/hwmon/hwmon1/curr1_input", 1000, 1500),
    "jetson-orin-nx": ("1-0040/hwmon/hwmon2/curr1_input", 1340, 1940),
    "jetson-agx-orin": ("1-0040/hwmon/hwmon3/curr3_input", 700, 1300),
}

RAPL_W = {False: 4.0, True: 19.0}


@dataclass
class ScriptedBoard:
    """A board's files, a clock that only work moves, and its sensors, read every SAMPLE_S of that clock."""

    key: str
    machine: Machine
    now_ns: int = 0
    cpu_ns: int = 0
    others_s: float = 0.0
    on_tick: Callable[[ScriptedBoard], None] = lambda _board: None
    taken: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sensors = Sensors(self.machine, lambda: self.now_ns)
        self.next_ns = SAMPLE_NS
        self.counted_ns = 0
        self.joules = 0.0
        if self.key in I2C:
            (self.file,) = (self.machine.sys / "devices").rglob(I2C[self.key][0])
        self.show_load(loaded=False)

    def work(self, milliseconds: float, threads: int = 1) -> None:
        self.cpu_ns += int(milliseconds * 1e6) * threads
        self.advance(int(milliseconds * 1e6), loaded=True)

    def sleep(self, seconds: float) -> None:
        self.advance(int(seconds * 1e9), loaded=False)

    def advance(self, elapsed_ns: int, *, loaded: bool) -> None:
        until_ns = self.now_ns + elapsed_ns
        while self.next_ns <= until_ns:
            self.now_ns = self.next_ns
            self.next_ns += SAMPLE_NS
            self.show_load(loaded=loaded)
            self.on_tick(self)
            self.read_now()
        self.now_ns = until_ns
        if self.key != "pc-rapl" and loaded != self.loaded:
            self.show_load(loaded=loaded)
        self.count(loaded=loaded)

    def show_load(self, *, loaded: bool) -> None:
        self.loaded = loaded
        if self.key in I2C:
            _, idle, busy = I2C[self.key]
            self.file.write_text(f"{busy if loaded else idle}\n")
        elif self.key == "raspberry-pi-5":
            file = self.machine.root / "firmware/pmic_read_adc"
            amperes = {False: "1.00000000A", True: "3.00000000A"}
            lines = [
                line.replace(amperes[not loaded], amperes[loaded]) if "VDD_CORE_A" in line else line
                for line in file.read_text().splitlines(keepends=True)
            ]
            file.write_text("".join(lines))
        self.count(loaded=loaded)

    def count(self, *, loaded: bool) -> None:
        """A PC's counter runs on; its file is written when somebody reads it, not for each image."""
        if self.key == "pc-rapl":
            self.joules += RAPL_W[loaded] * (self.now_ns - self.counted_ns) / 1e9
        self.counted_ns = self.now_ns

    def read_now(self) -> Reading:
        if self.joules:
            add_energy(self.machine, self.joules)
            self.joules = 0.0
        reading = self.sensors.read()
        self.taken.append(reading)
        return reading

    def readings(self) -> list[Reading]:
        taken, self.taken = self.taken, []
        return taken

    @property
    def clocks(self) -> Clocks:
        return Clocks(
            wall_ns=lambda: self.now_ns,
            cpu_ns=lambda: self.cpu_ns,
            busy=lambda: Busy(self.cpu_ns / 1e9 + self.others_s, self.cpu_ns / 1e9, 0.0),
            sleep=self.sleep,
        )

    @contextmanager
    def sensing(self, _machine: Machine) -> Iterator[Senses]:
        yield Senses(self.sensors.board.name, self, self.clocks)

    def load(self, contender: Contender, threads: int) -> Loaded:
        image_ms = IMAGE_MS[contender.network, contender.precision, threads]
        return Loaded(lambda: self.work(image_ms, threads), 44_200_000, 39, 39)

    def pipeline(self, uri: CameraUri, _network: NetworkName, place: Place) -> PipelineRow:
        """400 frames of 8 ms: 3.2 s, 125 frames a second."""
        window = Window(self, self.clocks)
        for _ in range(400):
            self.work(8.0)
        speed = speed_of([8_000_000] * 400, 400 * 8_000_000, window.close(), place.idle_w, place.no_watts)
        stages = {"decode": 1.5, "detect": 2.5, "classify": 4.0, "all but decode": 6.5, "all": 8.0}
        return PipelineRow(str(uri), 400, 390, 7, stages, speed, 1.3, 120.0, "a broker on loopback")

    @property
    def workshop(self) -> Workshop:
        return Workshop(
            sensing=self.sensing,
            contenders=lambda networks: [one for one in CONTENDERS if one.network in networks],
            load=self.load,
            pipeline=self.pipeline,
            cores=lambda: 2,
            unix_ns=lambda: STARTED_UNIX_NS,
        )


class Silent:
    """Shows no progress."""

    def expect(self, steps: int) -> None:
        """Not shown."""

    def step(self, what: str) -> None:
        """Not shown."""


def plan_for(machine: Machine, clip: CameraUri, **options: object) -> Plan:
    words = {"networks": ("nano_b", "nano_a"), "threads": (1, 2), "seconds": 2.0, **options}
    return Plan(clips=(clip,), machine=machine, **words)  # type: ignore[arg-type]


def golden(name: str) -> Path:
    return Path(__file__).parent / "golden" / name
