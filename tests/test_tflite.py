from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_fer.card import MODELS
from edge_fer.errors import ModelError, UnavailableError
from edge_fer.tflite import (
    INT8_BY_BITS,
    Graph,
    Quant,
    XnnpackShare,
    _xnnpack_share,
    choose_runtime,
    installed_runtimes,
)

DETECTOR = MODELS / "face_detection_short_range.tflite"


def test_quantising_rounds_and_clips() -> None:
    quant = Quant(scale=0.5, zero_point=-10)
    real = np.array([0.0, 0.24, 0.26, -0.26, 1000, -1000], np.float32)
    # 0.24 / 0.5 = 0.48 rounds to 0 and 0.26 / 0.5 = 0.52 to 1; a cast would give 0 for both.
    assert quant.to_int8(real).tolist() == [-10, -10, -9, -11, 127, -128]


def test_stored_values_are_widened_before_the_zero_point_is_taken_off() -> None:
    # -128 - 127 does not fit int8: it would wrap to 1.
    assert Quant(scale=0.1, zero_point=127).to_real(np.array([-128], np.int8)).tolist() == pytest.approx([-25.5])


def test_there_and_back_is_off_by_half_a_step_at_most() -> None:
    quant = Quant(scale=2 / 255, zero_point=-1)
    real = np.linspace(-0.99, 0.99, 1001, dtype=np.float32)
    assert np.abs(quant.to_real(quant.to_int8(real)) - real).max() <= quant.scale / 2 * 1.001


def test_every_int8_stands_where_its_bits_find_it() -> None:
    stored = np.array([[-128, -1], [0, 127]], np.int8)
    assert INT8_BY_BITS.take(stored.view(np.uint8)).tolist() == stored.tolist()
    assert sorted(INT8_BY_BITS.tolist()) == list(range(-128, 128))


@pytest.mark.skipif("litert" not in installed_runtimes(), reason="pip install 'edge-fer[litert]'")
def test_an_int8_output_is_looked_up_as_it_would_be_computed() -> None:
    graph = Graph("nano_b", (MODELS / "emotionnet_nano_b_int8.tflite").read_bytes(), runtime="litert")
    stored = np.random.default_rng(0).integers(-128, 128, graph.inputs[0].shape, np.int8)
    (output,), (real,) = graph.outputs, graph.run_stored(stored)
    steps = np.rint(real / np.float32(output.quant.scale)).astype(np.int32) + output.quant.zero_point
    assert len(set(steps.ravel().tolist())) > 1
    assert (real == output.quant.to_real(steps.astype(np.int8))).all()
    assert (real.shape, real.dtype) == (output.shape, np.float32)


def op(name: str, inputs: list[int], outputs: list[int]) -> dict[str, object]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


def test_the_share_of_xnnpack_counts_what_a_delegate_covers() -> None:
    chain = [op("CONV_2D", [0, 10], [1]), op("ADD", [1, 1], [2]), op("SOFTMAX", [2], [3])]
    assert _xnnpack_share(chain) == XnnpackShare(0, 3)
    assert _xnnpack_share([*chain, op("DELEGATE", [0, 10], [2])]) == XnnpackShare(2, 3)
    assert _xnnpack_share([*chain, op("DELEGATE", [0, 10], [3])]).whole


def test_two_delegates_with_a_gap_between_them_do_not_cover_the_gap() -> None:
    chain = [op("CONV_2D", [0], [1]), op("CUSTOM", [1], [2]), op("CONV_2D", [2], [3])]
    parts = [op("DELEGATE", [0], [1]), op("DELEGATE", [2], [3])]
    assert _xnnpack_share([*chain, *parts]) == XnnpackShare(2, 3)


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_a_real_graph_runs_on_each_runtime_and_xnnpack_takes_it(runtime: str) -> None:
    graph = Graph("short", DETECTOR.read_bytes(), runtime=runtime)  # type: ignore[arg-type]
    assert graph.xnnpack.whole
    boxes, scores = graph.run(np.zeros((1, 128, 128, 3), np.float32))
    assert {boxes.shape, scores.shape} == {(1, 896, 16), (1, 896, 1)}


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_what_is_no_model_is_refused(runtime: str, content: bytes) -> None:
    with pytest.raises(ModelError, match="broken"):
        Graph("broken", content, runtime=runtime)  # type: ignore[arg-type]


def test_a_runtime_that_is_not_installed_is_named_with_its_cure() -> None:
    with pytest.raises(UnavailableError, match=r"'torch' is not installed.*pip install"):
        choose_runtime("torch")  # type: ignore[arg-type]


def test_only_one_module_imports_an_interpreter_a_broker_client_or_a_camera() -> None:
    package = Path(__file__).parents[1] / "edge_fer"
    named = {"doctor/software.py", "doctor/examine.py"}  # as text, for a process of its own to import
    owners = {
        "ai_edge_litert": {"tflite.py", *named},
        "tflite_runtime": {"tflite.py", *named},
        "paho": {*named, *(f"mqtt/{name}.py" for name in ("connecting", "dialling", "link", "session", "subscriber"))},
        "VideoCapture": {"capture/video.py", "capture/device.py"},
        "converter": {"bench/baseline.py"},  # starts it as a process, never imports it
    }
    for word, modules in owners.items():
        found = {
            str(path.relative_to(package))
            for path in package.rglob("*.py")
            if f"{word}" in _code(path.read_text(), word)
        }
        assert found <= modules, word


def _code(text: str, word: str) -> str:
    """Lines that use the word as a name, not in a sentence."""
    return "\n".join(
        line
        for line in text.splitlines()
        if word in line and any(mark in line for mark in ("import", f"{word}(", f'"{word}'))
    )
