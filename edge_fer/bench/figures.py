"""What a diagnosis finds: frozen values, units in the names. None is what was not measured, never 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_fer.events import LatencyMs
from edge_fer.sensors.readings import PowerSource


@dataclass(frozen=True, slots=True)
class Energy:
    """Watts while something ran, and what one image cost."""

    source: PowerSource
    total_w: float  # mean: energy over time
    idle_w: float  # the same before anything ran
    joules_per_image: float  # energy over images
    reason: str = ""  # why it is only estimated

    @property
    def marginal_w(self) -> float:
        """What running adds to the idle floor."""
        return self.total_w - self.idle_w

    @property
    def marginal_joules_per_image(self) -> float:
        """Energy of one image above the idle floor."""
        return self.joules_per_image * self.marginal_w / self.total_w if self.total_w else 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Something done again and again, one image at a time, warm."""

    images: int
    seconds: float
    p50_ms: float  # wall time of one image
    p95_ms: float
    p99_ms: float
    cpu_ms: float  # CPU time of one image, mean, all threads
    energy: Energy | None = None
    energy_missing: str = ""  # why there is none
    temperature_c: float | None = None  # of the hottest zone, highest while it ran
    throttled: tuple[str, ...] = ()  # what held the board back meanwhile
    disturbed: str = ""  # why the figures may be worse than the board's best: other programs, throttling

    @property
    def fps(self) -> float:
        """Images per second."""
        return self.images / self.seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One network on one runtime."""

    network: str
    precision: str
    runtime: str
    threads: int
    macs: int  # multiply-accumulates of one image
    xnnpack_operators: int
    operators: int
    speed: Speed
    nominal_fps_per_w: float | None = None  # over the budget in the mode's name; None without one

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates per second."""
        return self.macs * self.speed.fps / 1e9


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """The same network in TensorFlow, in the same run."""

    network: str
    how: Literal["graph", "predict"]  # tf.function; Keras `predict`
    version: str
    threads: int
    p50_ms: float
    p95_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """From the camera to the event: a clip, as fast as it goes."""

    clip: str
    frames: int
    faces_read: int
    events: int
    stages_cpu_ms: dict[str, float]  # CPU time of one frame
    speed: Speed  # of frames; times from the capture to the publisher
    first_event_s: float | None = None  # from a daemon's start, clip in real time; None: no event, or a late one
    rss_mb: float = 0.0  # resident memory after it, this whole process
    published_to: str = "nowhere"


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of cameras at a frame rate does to this machine."""

    cameras: int
    wanted_fps: float  # of each camera
    seconds: float
    cores: int
    fps: list[float]  # looked at, of each camera
    fairness: float  # slowest / mean of them
    dropped_share: float  # of the captured frames
    latency_ms: LatencyMs | None  # from capture to the publisher
    cpu_cores: float  # used by the whole process
    rss_mb: float
    updates_per_minute: float  # changes of expression, of one face, while it was followed


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """What a paper says; never measured here."""

    network: str
    board: str
    mode: str
    budget_w: float
    fps: float
    fps_per_nominal_w: float
    source: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything of one power mode."""

    mode: str | None  # "2 MODE_15W", "1200MHz"; None: this board has no modes
    mode_id: int | None
    mode_name: str | None
    budget_w: float | None
    mode_note: str  # why there is no mode, or what was not done
    cores_online: int
    cores: int
    cpu_mhz: float | None  # highest clock that a core which is online may reach in this mode
    idle_w: float | None
    power_source: PowerSource
    power_note: str  # why watts are unavailable or estimated
    rows: tuple[Row, ...]
    pipeline: tuple[PipelineRow, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All figures of one run."""

    version: str
    board: str
    processor: str  # name, and the instruction set that counts: "Intel Xeon, AVX-512 VNNI"
    peak_gmacs_int8: float | None  # of one core, computed; None for a processor that is not known
    peak_gmacs_float32: float | None
    peak_note: str  # how they were computed
    python: str
    packages: dict[str, str]  # versions of the runtimes and of NumPy
    started_at: str
    modes: tuple[Measured, ...]
    reported: tuple[ReportedRow, ...] = ()
    baseline: tuple[BaselineRow, ...] = ()
    baseline_asked: bool = False
    baseline_skipped: str = ""  # why there is none
    load: Load | None = None  # None: not asked for
    warnings: tuple[str, ...] = field(default=())
    files_below: str | None = None  # whose board, watts and modes these are; None: those of the machine itself
