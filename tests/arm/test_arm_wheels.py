"""Every aarch64 wheel set under qemu, on the processors of its boards, against x86-64.

A set whose Python cannot be had for arm64 here is run, in the same versions, by another one that stands in; the names
of these tests say so, and one that is skipped says what was therefore not run.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from armcache import Unavailable
from armlab import NEEDS_ATOMICS, Examined, Lab
from armsite import RUNTIME_PACKAGES
from armtrial import WITH_DOT_PRODUCT, WITHOUT_ATOMICS, Trial, all_trials, glibc_of, old_trials, untested

from edge_fer.classify import fast_precision
from edge_fer.tflite import installed_runtimes

pytestmark = pytest.mark.arm

TRIALS = all_trials()
OLD_TRIALS = old_trials(TRIALS)

NEWER_GLIBC = (2, 34)
"""What the newest LiteRT needs."""

HWCAP_ATOMICS, HWCAP_DOT_PRODUCT = 1 << 8, 1 << 20
"""Bits by which the kernel tells a program what the processor has (arch/arm64/include/uapi/asm/hwcap.h)."""

# Sums of the same products in another order. Of the largest number of an output, because a detector's are pixels and
# logits up to some hundred: float32 itself keeps 6e-8 of it, and some twenty layers lose a digit of that.
FLOAT_TOLERANCE = 1e-5

# Built-in kernels, to which edge_fer by itself leaves no int8, round at other places on ARM than on x86-64: one step of
# the output, and what float32 loses in telling it.
STEPS_OFF_XNNPACK = 1.001

# The same pictures: only the last digits of float32 in the detector differ. They move a box by some 1e-4 px, which can
# turn the rounding of a side to whole pixels, and of a grey level of the crop here and there by 1 of 255.
BOX_TOLERANCE_PX, SCORE_TOLERANCE = 1, 0.01

# FFmpeg turns the clip's colours into BGR by other arithmetic on ARM. That moves a score by up to 0.02, as
# other processors' arithmetic does (tests/flow), and a box by up to one pixel of the detector's input, which is 3.3 of
# the clip's.
LEVEL_TOLERANCE, CLIP_BOX_TOLERANCE_PX, CLIP_SCORE_TOLERANCE = 2, 4, 0.05

OF_THIS_RUN = {"id", "boot_id", "occurred_at", "published_at", "frame_age_ms", "clock_synced"}
"""Fields of an event that no two runs have in common."""


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Examines, from its beginning on, what the chosen tests ask for."""
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in request.session.items]
    lab = Lab(tmp_path_factory.mktemp("arm"), list({each["trial"]: None for each in parameters if "trial" in each}))
    yield lab
    lab.close()


@pytest.fixture
def examined(lab: Lab, trial: Trial) -> Examined:
    if platform.machine() != "x86_64":
        pytest.skip(f"this machine is {platform.machine()}: there are no outputs of x86-64 to compare with")
    if missing := set(RUNTIME_PACKAGES.values()) - set(installed_runtimes()):
        pytest.skip(f"this Python has no {missing} to compare with: 3.10 and 3.11 have all with the extra litert")
    try:
        found = lab.examined(trial)
    except Unavailable as err:
        pytest.skip(str(err))
    assert found.crash == ""
    return found


every_trial = pytest.mark.parametrize("trial", TRIALS, ids=str)
one_trial_of_each_set = pytest.mark.parametrize("trial", [trial for trial in TRIALS if trial.plays_clip], ids=str)
every_trial_on_old_glibc = pytest.mark.parametrize("trial", OLD_TRIALS, ids=str)
every_trial_of_both = pytest.mark.parametrize("trial", [*TRIALS, *OLD_TRIALS], ids=str)


@every_trial_of_both
def test_it_ran_on_the_python_and_processor_of_the_trial(examined: Examined, trial: Trial) -> None:
    machine = examined.one("machine")
    assert machine["machine"] == "aarch64"
    assert (machine["python"], machine["glibc"]) == (trial.userland.python, trial.userland.glibc)
    assert bool(machine["hwcap"] & HWCAP_DOT_PRODUCT) == (trial.cpu in WITH_DOT_PRODUCT)
    assert bool(machine["hwcap"] & HWCAP_ATOMICS) == (trial.cpu not in WITHOUT_ATOMICS)


@every_trial_of_both
def test_every_package_imports_and_every_shared_object_loads(examined: Examined, lab: Lab, trial: Trial) -> None:
    assert examined.every("failed") == []
    imported = {answer["package"]: answer["version"] for answer in examined.every("imported")}
    assert imported == lab.site(trial).packages
    (own, *_) = examined.every("loaded")
    assert {"cv2.abi3.so"} < set(own["files"])


@every_trial_of_both
def test_nothing_uses_the_library_that_old_processors_cannot_run(examined: Examined) -> None:
    used = set(examined.one("mapped")["files"])
    assert "cv2.abi3.so" in used
    assert NEEDS_ATOMICS not in used


@every_trial_of_both
def test_the_models_give_the_outputs_of_x86_64(examined: Examined, lab: Lab, trial: Trial) -> None:
    found, wanted = examined.outputs, lab.reference.outputs
    assert found.keys() == {key for key in wanted if key.split()[0] in lab.site(trial).runtimes}
    problems = {}
    for key, tensor in found.items():
        runtime, model, *_ = key.split()
        difference = float(np.abs(tensor - wanted[key]).max())
        step = lab.reference.one("model", runtime=runtime, model=model)["step"]
        if difference > _allowed(runtime, wanted[key], step):
            problems[key] = difference
    assert problems == {}


def _allowed(runtime: str, wanted: npt.NDArray[np.float32], step: float) -> float:
    """How much an output may differ; `step` 0: of a float32 model."""
    if not step:
        return FLOAT_TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    return 0.0 if runtime == "litert" else STEPS_OFF_XNNPACK * step


@every_trial_of_both
def test_xnnpack_takes_all_of_what_edge_fer_runs_and_no_less_than_on_x86_64(
    examined: Examined, lab: Lab, trial: Trial
) -> None:
    graphs = {(graph["runtime"], graph["model"]): graph for graph in examined.every("model")}
    wanted = {(graph["runtime"], graph["model"]): graph for graph in lab.reference.every("model")}
    runtimes = lab.site(trial).runtimes
    assert graphs.keys() == {key for key in wanted if key[0] in runtimes}
    for (runtime, model), graph in graphs.items():
        reference = wanted[runtime, model]
        assert (graph["taken"], graph["total"]) == (reference["taken"], reference["total"])
        if "int8" not in model or fast_precision(runtime) == "int8":
            assert graph["taken"] == graph["total"] > 0


@every_trial
def test_ten_pictures_give_the_events_of_x86_64(examined: Examined, lab: Lab, trial: Trial) -> None:
    events = _compare(examined, lab, trial, "pictures", BOX_TOLERANCE_PX, SCORE_TOLERANCE)
    assert [event["type"] for event in events] == ["start", "update", "end"]


@one_trial_of_each_set
def test_ten_frames_of_the_clip_give_the_events_of_x86_64(examined: Examined, lab: Lab, trial: Trial) -> None:
    levels = np.abs(examined.decoded.astype(int) - lab.reference.decoded.astype(int))
    assert levels.max() <= LEVEL_TOLERANCE
    events = _compare(examined, lab, trial, "clip", CLIP_BOX_TOLERANCE_PX, CLIP_SCORE_TOLERANCE)
    assert [event["type"] for event in events] == ["start", "end"]


def _compare(
    examined: Examined, lab: Lab, trial: Trial, name: str, box_px: float, score: float
) -> list[dict[str, Any]]:
    """The events of a flow, which are those of the same flow on this machine, on the same runtime."""
    flow = examined.one("flow", name=name)
    reference = lab.reference.one("flow", name=f"{name} {lab.site(trial).runtimes[0]}")
    assert flow["models"] == reference["models"]
    assert (flow["frames"], len(flow["events"])) == (reference["frames"], len(reference["events"]))
    for found, wanted in zip(flow["events"], reference["events"], strict=True):
        assert _exact(found) == _exact(wanted)
        for part, tolerance in (("box", box_px), ("scores", score)):
            assert found[part] == pytest.approx(wanted[part], abs=tolerance)
        for part in ("confidence", "peak", "mean"):
            assert found[part] == pytest.approx(wanted[part], abs=score)
    return list(flow["events"])


def _exact(event: dict[str, Any]) -> dict[str, Any]:
    """What must be the same to the last digit; of the quality, whether the face was refused."""
    measured = {"box", "scores", "confidence", "peak", "mean", "quality"}
    return {
        **{name: value for name, value in event.items() if name not in OF_THIS_RUN | measured},
        "refusal": event["quality"]["refusal"],
    }


@every_trial_on_old_glibc
def test_the_locked_files_themselves_load_with_glibc_2_31(examined: Examined, trial: Trial) -> None:
    (_, locked) = examined.every("loaded")
    tag = "cp" + trial.python.replace(".", "")
    assert any(f"cpython-{tag[2:]}" in name for name in locked["files"])
    assert not [answer for answer in examined.every("failed") if answer.get("folder") == locked["folder"]]


def test_glibc_2_31_refuses_what_needs_a_newer_one(lab: Lab) -> None:
    """The check above can fail: LiteRT for a newer glibc, and the libstdc++ of its time, does not load there."""
    newer = next(trial for trial in TRIALS if glibc_of(trial.set_key) >= NEWER_GLIBC)
    try:
        refused = lab.load(OLD_TRIALS[0], newer.site().folder / "ai_edge_litert")
    except Unavailable as err:
        pytest.skip(str(err))
    errors = [answer["error"] for answer in refused.every("failed")]
    assert any(re.search(r"version `GLIBC(XX)?_[\d.]+' not found", error) for error in errors), errors


@one_trial_of_each_set
def test_a_set_is_run_by_the_python_that_it_is_built_for(examined: Examined, trial: Trial) -> None:
    if text := untested(trial.set_key):
        pytest.skip(text)
    assert examined.one("machine")["python"] == trial.python
    imported = {(answer["package"], answer["version"]) for answer in examined.every("imported")}
    assert imported == {(wheel.name, wheel.version) for wheel in trial.wheel_set.wheels}
