from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edge_fer.bench.baseline import measure_baseline_rows


def test_an_installed_package_has_no_converter_and_says_so(tmp_path: Path) -> None:
    rows, reason = measure_baseline_rows("nano_b", (1,), 0.1, checkout=tmp_path)
    assert rows == ()
    assert reason == "the converter is not here: run this in the project's checkout"


NOT_MEASURED = "TensorFlow is not installed (pip install 'edge-fer[convert]'): the baseline was NOT measured"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A checkout whose converter fails as a real one does: a line on stderr and an exit code."""
    (tmp_path / "converter").mkdir()
    (tmp_path / "converter/__init__.py").touch()
    (tmp_path / "converter/baseline.py").touch()
    (tmp_path / "converter/__main__.py").write_text("import sys\nsys.exit('edge-fer: no memory left')\n")
    return tmp_path


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason=NOT_MEASURED)
def test_a_child_that_fails_is_a_reason_and_no_rows(broken: Path) -> None:
    rows, reason = measure_baseline_rows("nano_b", (1, 2), 0.1, checkout=broken)
    assert rows == ()
    assert reason == "TensorFlow could not be measured: edge-fer: no memory left"


@pytest.mark.system
@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason=NOT_MEASURED)
def test_graph_mode_and_predict_are_measured() -> None:
    rows, reason = measure_baseline_rows("nano_b", (1,), 0.1)
    assert reason == ""
    graph, predict = rows
    assert (graph.how, predict.how) == ("graph", "predict")
    assert graph.version.startswith("TensorFlow ")
    assert predict.version.startswith("Keras ")
    assert 0 < graph.p50_ms <= graph.p95_ms
    assert 0 < predict.p50_ms <= predict.p95_ms
