"""The daemon loads what the tuning says, tells it, and starts in any case."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tunings import of_this_machine

from edge_fer.config import Config, load_config
from edge_fer.errors import EdgeFerError
from edge_fer.loaded import load_models, node_info
from edge_fer.tflite import installed_runtimes
from edge_fer.tune.tuned import TUNED_FILE, write_tuned

RUNTIME = installed_runtimes()[0]
PRECISION = "int8" if RUNTIME == "litert" else "float32"


def config(folder: Path, **model: Any) -> Config:
    tables = {"node": "lab", "camera": {"front": {"uri": "sample:"}}, "state_dir": folder, "model": model}
    return load_config(None, tables)


def told_by(folder: Path, **model: Any) -> list[tuple[str, str, int]]:
    """Name, runtime and threads of each network, as `info` has them; the one that reads expressions is the last."""
    settings = config(folder, **model)
    return [(one.name, one.runtime, one.threads) for one in node_info(settings, load_models(settings), "b").models]


def test_the_daemon_loads_what_the_tuning_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tuned(tmp_path, of_this_machine(f"{RUNTIME} float32 2", f"{RUNTIME} - 2"))
    with caplog.at_level(logging.INFO):
        found = told_by(tmp_path)
    assert found[-1] == ("emotionnet_nano_b_float32", RUNTIME, 2)
    assert [one[1:] for one in found] == [(RUNTIME, 2)] * 3
    assert f"tuned on 2026-03-01 for speed: nano_b on {RUNTIME} float32, 2 threads" in caplog.text


def test_network_and_detectors_may_differ(tmp_path: Path) -> None:
    write_tuned(tmp_path, of_this_machine(f"{RUNTIME} float32 2", f"{RUNTIME} - 1"))
    assert [threads for _, _, threads in told_by(tmp_path)] == [1, 1, 2]


def test_a_number_of_threads_in_the_configuration_is_obeyed(tmp_path: Path) -> None:
    write_tuned(tmp_path, of_this_machine(f"{RUNTIME} float32 2", f"{RUNTIME} - 2"))
    assert [threads for _, _, threads in told_by(tmp_path, threads=1)] == [1, 1, 1]


def test_a_board_that_is_not_tuned_says_so_and_uses_the_defaults(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert told_by(tmp_path)[-1] == (f"emotionnet_nano_b_{PRECISION}", RUNTIME, 1)
    assert f"not tuned on this board (no {tmp_path / TUNED_FILE}): edge-fer tune" in caplog.text


@pytest.mark.parametrize("content", ["{", "\0"])
def test_a_damaged_tuning_is_warned_of_and_the_daemon_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / TUNED_FILE).write_text(content)
    assert told_by(tmp_path)[-1] == (f"emotionnet_nano_b_{PRECISION}", RUNTIME, 1)
    assert f"the tuning is ignored: {tmp_path / TUNED_FILE}: damaged" in caplog.text


@pytest.mark.skipif("tflite-runtime" not in installed_runtimes(), reason="tflite-runtime is not installed")
def test_a_choice_that_does_not_load_is_warned_of_and_the_daemon_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """XNNPACK of tflite-runtime takes no int8: no tuning of ours would say so."""
    write_tuned(tmp_path, of_this_machine("tflite-runtime int8 2", "tflite-runtime - 1"))
    assert told_by(tmp_path)[-1] == (f"emotionnet_nano_b_{PRECISION}", RUNTIME, 1)
    assert "the tuning is not used, because what it says does not load: " in caplog.text
    with pytest.raises(EdgeFerError, match="XNNPACK takes only"):  # what the file itself says is obeyed, and fails
        told_by(tmp_path, runtime="tflite-runtime", precision="int8")
