"""A run's growth is told rightly, a sampler sees what a process takes; and a short run with bad cameras stays flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from footprint import MB, Footprint, FootprintSampler, Windows, growths, slope
from memory_soak import growth_checks
from realbrokers import wait_until

TAKEN_MB = 40
MINUTES, SHORT_LIMIT_MB = 5, 1.5


def at(t_s: float, rss_mb: float = 100.0, threads: int = 7) -> Footprint:
    return Footprint(
        t_s=t_s, rss_mb=rss_mb, pss_mb=80, dirty_mb=70, children_mb=50, children=1, threads=threads, fds=10
    )


def failed(of_time: Callable[[int], Footprint], limit_mb: float = 1.0) -> list[str]:
    """Checks of a run of 20 minutes, a sample every 2 s, that do not pass."""
    samples = [of_time(t_s) for t_s in range(0, 1200, 2)]
    return [check.name for check in growth_checks(growths(samples, Windows.of_run(20)), limit_mb) if not check.passed]


def test_what_a_start_takes_is_no_growth() -> None:
    assert failed(lambda t_s: at(t_s, rss_mb=min(t_s, 120))) == []


def test_a_slow_leak_is_growth() -> None:
    assert failed(lambda t_s: at(t_s, rss_mb=100 + t_s / 900)) == ["growth: resident, MB"]
    assert failed(lambda t_s: at(t_s, rss_mb=100 + t_s / 900), limit_mb=1.1) == []


def test_a_thread_for_each_attempt_is_growth() -> None:
    assert failed(lambda t_s: at(t_s, threads=7 + t_s // 60)) == ["growth: threads"]


def test_peaks_of_attempts_are_no_growth() -> None:
    assert failed(lambda t_s: at(t_s, rss_mb=150 if t_s % 10 == 0 and t_s > 600 else 100)) == []


def test_every_figure_is_told_with_its_slope() -> None:
    samples = [replace(at(t_s, rss_mb=100 + t_s / 3600), fds=10) for t_s in range(0, 1200, 2)]
    by_name = {growth.name: growth for growth in growths(samples, Windows.of_run(20))}
    assert by_name["resident, MB"].per_hour == pytest.approx(1.0)
    assert by_name["resident, MB"].grown == pytest.approx((1140 - 180) / 3600, abs=0.01)
    assert by_name["open files"].per_hour == 0


def test_a_slope_ignores_a_quarter_of_wild_values() -> None:
    times = list(range(100))
    values = [2.0 * t for t in times]
    values[::4] = [1e6] * 25
    assert slope(times, values) == pytest.approx(2.0)


def test_a_run_too_short_to_tell_is_an_error() -> None:
    with pytest.raises(ValueError, match="too short"):
        growths([at(0), at(2)], Windows.of_run(20))


def test_the_sampler_sees_memory_children_and_files() -> None:
    program = (
        "import subprocess, sys; print('ready', flush=True); sys.stdin.readline()\n"
        f"taken = bytearray(b'x') * {int(TAKEN_MB * MB)}; files = [open({os.devnull!r}) for _ in range(9)]\n"
        "child = subprocess.Popen(['sleep', '60']); sys.stdin.readline(); child.kill()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        sampler = FootprintSampler(process.pid, period_s=0.02)
        sampler.start()
        wait_until(lambda: sampler.samples)
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: sampler.samples[-1].children == 1)
        sampler.stop()
        first, last = sampler.samples[0], sampler.samples[-1]
        process.communicate("\n")
    assert last.rss_mb - first.rss_mb == pytest.approx(TAKEN_MB, abs=5)
    assert last.dirty_mb - first.dirty_mb == pytest.approx(TAKEN_MB, abs=5)
    assert last.fds == first.fds + 9
    assert last.children_mb > 0


@pytest.mark.system
def test_memory_stays_flat_with_a_dead_a_frozen_and_a_good_camera(tmp_path: Path) -> None:
    script = Path(__file__).with_name("memory_soak.py")
    command = [sys.executable, str(script), "--minutes", str(MINUTES), "--limit-mb", str(SHORT_LIMIT_MB)]
    command += ["--work", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.parents[2])
    if done.returncode == 69:
        pytest.skip(f"{done.stderr.strip().splitlines()[-1]}: NOT tested")
    told = json.loads(done.stdout)
    assert [check for check in told["checks"] if not check["passed"]] == []
