"""edge-fer on a clip: by its own benchmark, and from outside as a process like any other."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from measured import Child, Cost, run_child

from edge_fer.errors import UnavailableError

ROOT = Path(__file__).parents[2]
WHOLE_FLOW = "detect at the set pace, track, read every face seen, decide, publish"
EVERY_FRAME = "detect in every frame, track, read every face, decide, publish"


def bench_cost(clip: Path, number: int) -> Cost:
    """`edge-fer bench`: the whole flow as the daemon runs it, publishing to a broker on loopback."""
    # Sensors of an empty folder: with watts to measure, the clip would be played again and again.
    command = [sys.executable, "-m", "edge_fer", "bench", "--clip", str(clip), "--network", "nano_b", "--json"]
    with tempfile.TemporaryDirectory() as nothing:
        child = run_child([*command, "--threads", "1", "--seconds", "0.1", "--root", nothing], ROOT)
    flow = json.loads(child.lines[-1])["modes"][0]["pipeline"][0]
    cpu_ms = flow["stages_cpu_ms"]
    if missing := {"all", "all but decode"} - cpu_ms.keys():
        raise UnavailableError(f"edge-fer bench --json: no stage {missing.pop()!r}; this script is older than it")
    return Cost(
        who="edge-fer bench",
        what=WHOLE_FLOW,
        round=number,
        frames=flow["frames"],
        cpu_ms_per_frame=cpu_ms["all"],
        cpu_ms_without_decode=cpu_ms["all but decode"],
        peak_rss_mb=flow["rss_mb"],
        first_result_s=flow["first_event_s"],
        first_result="first event, clip in real time",
        whole_process_cpu_s=child.cpu_s,
        remark=f"published to {flow['published_to']}; resident memory is that after the clip",
    )


def process_cost(clip: Path, frames: int, number: int, work: Path, detector: dict[str, Any]) -> Cost:
    """`edge-fer run` as a process with its children: the clip's CPU, less that of the same run on one grey picture."""
    start = _run(_grey(work), work, detector)
    child = _run(f"file:{clip}", work, detector)
    cpu_s = max(0.0, child.cpu_s - start.cpu_s)
    every = detector.get("every_frames") == 1
    return Cost(
        who="edge-fer run, every frame" if every else "edge-fer run",
        what=EVERY_FRAME if every else WHOLE_FLOW,
        round=number,
        frames=frames,
        cpu_ms_per_frame=cpu_s * 1000 / max(1, frames - 1),
        cpu_ms_without_decode=None,
        peak_rss_mb=child.peak_rss_mb,
        first_result_s=child.first_line_s,
        first_result="first event, clip as fast as it goes",
        whole_process_cpu_s=child.cpu_s,
        found=_events(child),
        remark=f"events as JSON to a pipe; start-up of {start.cpu_s:.2f} CPU s, measured before, is taken off",
    )


def _run(uri: str, work: Path, detector: dict[str, Any]) -> Child:
    config = work / "edge-fer.toml"
    lines = [f"camera.clip.uri = {json.dumps(uri)}", *(f"detector.{key} = {value}" for key, value in detector.items())]
    config.write_text('node = "peers"\n' + "\n".join(lines) + "\n")
    return run_child([sys.executable, "-m", "edge_fer", "run", "--config", str(config), "--print"], ROOT)


def _grey(work: Path) -> str:
    picture = work / "grey.pgm"
    picture.write_bytes(b"P5\n640 360\n255\n" + bytes([128]) * (640 * 360))
    return f"images:{picture}?fps=1&seconds=1"


def _events(child: Child) -> dict[str, float]:
    """How many events of each kind: "start neutral", "update happiness" ..."""
    events = [json.loads(line) for line in child.lines]
    return dict(Counter(f"{event['type']} {event['expression']}" for event in events).most_common())
