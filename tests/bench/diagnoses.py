"""Diagnoses made by hand, for pictures and pages."""

from __future__ import annotations

from edge_fer.bench.figures import BaselineRow, Diagnosis, Energy, Measured, PipelineRow, Row, Speed
from edge_fer.bench.reported import REPORTED

MACS = 44_200_000


def speed(p50_ms: float, *, watts: float | None = None, idle_w: float = 6.0, disturbed: str = "") -> Speed:
    """Ten seconds of images that take p50_ms each."""
    images = round(10_000 / p50_ms)
    energy = Energy("measured", watts, idle_w, watts * 10 / images) if watts else None
    missing = "" if watts else "no power sensor"
    return Speed(images, 10.0, p50_ms, p50_ms * 1.1, p50_ms * 1.3, p50_ms, energy, missing, 51.5, (), disturbed)


def row(network: str, precision: str, runtime: str, threads: int, of: Speed, budget_w: float | None = None) -> Row:
    nominal = of.fps / budget_w if budget_w else None
    return Row(network, precision, runtime, threads, MACS, 33, 33, of, nominal)


def mode(rows: tuple[Row, ...], name: str | None = None, budget_w: float | None = None, **options: object) -> Measured:
    pipeline = PipelineRow("sample.mp4", 250, 240, 3, {"decode": 1.5}, speed(6.1))
    watts = any(entry.speed.energy for entry in rows)
    words = {
        "mode_note": "" if name else "this board has no power modes",
        "power_source": "measured" if watts else "unavailable",
        "power_note": "" if watts else "this board has no power sensor",
        "idle_w": 6.0 if watts else None,
        "pipeline": (pipeline,),
        **options,
    }
    number = int(name.split()[0]) if name else None
    return Measured(
        name, number, name and name.split()[1], budget_w, cores_online=4, cores=8, cpu_mhz=1200.0, rows=rows, **words
    )  # type: ignore[arg-type]


def diagnosis(*modes: Measured, **options: object) -> Diagnosis:
    words = {
        "version": "0.2.0",
        "board": "NVIDIA Jetson AGX Xavier",
        "processor": "NVIDIA Carmel",
        "peak_gmacs_int8": 38.4,
        "peak_gmacs_float32": 9.6,
        "peak_note": "NEON SDOT of 128 bits; at 1200 MHz",
        "python": "3.10.4",
        "packages": {"ai-edge-litert": "2.1.0", "numpy": "1.26.4"},
        "started_at": "2026-11-23T10:00:00Z",
        "reported": REPORTED,
        **options,
    }
    return Diagnosis(modes=modes, **words)  # type: ignore[arg-type]


def rows(scale: float = 1.0, budget_w: float | None = None, watts: float | None = None) -> tuple[Row, ...]:
    """Both networks on both runtimes."""
    table = [
        ("nano_b", "int8", "litert", 1, 1.4, 0.0), ("nano_b", "int8", "litert", 2, 0.8, 0.6),
        ("nano_b", "float32", "litert", 2, 2.9, 0.8), ("nano_b", "float32", "tflite-runtime", 2, 2.6, 0.7),
        ("nano_a", "int8", "litert", 2, 1.3, 0.6), ("nano_a", "float32", "litert", 2, 4.6, 0.8),
        ("nano_a", "float32", "tflite-runtime", 2, 4.2, 0.7),
    ]  # fmt: skip
    return tuple(
        row(network, precision, runtime, threads, speed(ms * scale, watts=watts and watts + more), budget_w)
        for network, precision, runtime, threads, ms, more in table
    )


BASELINE = (
    BaselineRow("nano_b", "graph", "TensorFlow 2.21.0", 1, 19.0, 20.0, 19.0),
    BaselineRow("nano_b", "graph", "TensorFlow 2.21.0", 2, 14.0, 15.0, 27.0),
    BaselineRow("nano_b", "predict", "Keras 3.15.1", 2, 210.0, 260.0, 230.0),
)


def with_watts_and_a_mode() -> Diagnosis:
    return diagnosis(mode(rows(1.0, 15.0, 9.1), "2 MODE_15W", 15.0), baseline=BASELINE)


def without_anything() -> Diagnosis:
    found = tuple(
        entry
        if entry.threads == 1
        else row(
            "nano_b",
            entry.precision,
            entry.runtime,
            2,
            speed(entry.speed.p50_ms, disturbed="other programs used 40 % of a core"),
        )
        for entry in rows()
        if entry.network == "nano_b"
    )
    return diagnosis(mode(found), board="generic PC", processor="Intel Xeon Processor, AVX-512 VNNI")


def of_several_modes() -> Diagnosis:
    return diagnosis(
        mode(rows(2.2, 10.0, 7.3), "1 MODE_10W", 10.0),
        mode(rows(1.0, 15.0, 9.1), "2 MODE_15W", 15.0),
        mode(rows(0.55, 30.0, 14.8), "3 MODE_30W_ALL", 30.0),
        mode(rows(0.4, None, 21.8), "0 MAXN"),
        baseline=BASELINE,
    )
