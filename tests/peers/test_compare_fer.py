"""The comparison counts what it should; fer itself is not needed here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_fer import compare
from fer_child import measure, warm_up
from fer_env import fer_python
from measured import Cost, run_child

from edge_fer.errors import UnavailableError


def cost(who: str, number: int, cpu_ms: float) -> Cost:
    return Cost(
        who=who,
        what="",
        round=number,
        frames=10,
        cpu_ms_per_frame=cpu_ms,
        cpu_ms_without_decode=None,
        peak_rss_mb=1,
        first_result_s=None,
        first_result="",
        whole_process_cpu_s=1,
    )


class BrightFaces:
    """Finds a happy face in every picture that is not black, as fer tells it."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def detect_emotions(self, image: np.ndarray) -> list[dict[str, Any]]:
        self.seen.append(round(float(image.mean()) / 20))  # make_clip's number of the frame
        return [{"box": (0, 0, 9, 9), "emotions": {"happy": 0.9, "sad": 0.1}}] if self.seen[-1] else []


def test_the_ratio_is_that_of_neighbours_and_the_lowest_counts() -> None:
    costs = [cost("edge-fer bench", 1, 5), cost("edge-fer run", 1, 6), cost("fer haar", 1, 60)]
    costs += [cost("edge-fer bench", 2, 10), cost("edge-fer run", 2, 8), cost("fer haar", 2, 80)]
    ratios = {(ratio.who, ratio.than): ratio for ratio in compare(costs)}
    assert ratios["fer haar", "edge-fer bench"].rounds == [12, 8]
    assert ratios["fer haar", "edge-fer bench"].lowest == 8
    assert ratios["fer haar", "edge-fer run"].lowest == 10


def test_a_round_without_edge_fer_cannot_be_compared() -> None:
    with pytest.raises(UnavailableError, match="round 2"):
        compare([cost("edge-fer bench", 1, 5), cost("edge-fer run", 1, 5), cost("fer haar", 2, 60)])


def test_every_frame_is_looked_at(make_clip: Callable[..., Path]) -> None:
    detector = BrightFaces()
    found = measure(detector, str(make_clip(frames=5)), count=5, wanted=5)
    assert detector.seen == [0, 1, 2, 3, 4]
    assert (found["frames"], found["faces_per_frame"], found["read_as"]) == (5, 0.8, {"happy": 4})
    assert found["cpu_ms_per_frame"] >= found["cpu_ms_without_decode"] > 0


def test_fewer_frames_are_spread_evenly(make_clip: Callable[..., Path]) -> None:
    detector = BrightFaces()
    assert measure(detector, str(make_clip(frames=12)), count=12, wanted=4)["frames"] == 4
    assert detector.seen == [0, 3, 6, 9]


def test_the_first_face_is_told_once_and_all_frames_are_counted(
    make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert warm_up(BrightFaces(), str(make_clip(frames=12))) == 12
    assert capsys.readouterr().out == "first\n"


def test_a_child_is_measured_with_what_it_started() -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    start = f"subprocess.run([sys.executable, '-c', {spin!r}])"
    nest = f"import subprocess, sys\nprint(1, flush=True)\n{start}\nprint(2)"
    child = run_child([sys.executable, "-c", nest])
    assert child.lines == ["1", "2"]
    assert child.cpu_s >= 0.2
    assert child.first_line_s is not None
    assert child.peak_rss_mb > 1


def test_a_child_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(UnavailableError, match="ended with 3: no clip"):
        run_child([sys.executable, "-c", "import sys; print('no clip', file=sys.stderr); sys.exit(3)"])


def test_an_environment_that_could_not_be_made_does_not_count_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # nothing could be fetched
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(UnavailableError, match="cannot be made"):
        fer_python(tmp_path, mtcnn=False)
    half_made = tmp_path / "fer"
    assert half_made.exists()
    assert not (half_made / "installed.sha256").exists()
