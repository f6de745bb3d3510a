"""Runs the examination on this machine and, under qemu, for each trial, as many at once as there are processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from armroot import qemu
from armsite import Site, locked_site
from armtrial import WITHOUT_ATOMICS, Trial

from edge_fer.align import crop_face, normalise
from edge_fer.capture.open import open_source
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.card import MODELS
from edge_fer.detect import BLAZEFACE, FaceDetector, _letterbox
from edge_fer.tflite import Runtime, installed_runtimes

PROJECT = Path(__file__).parents[2]

FRAMES = 10
PICTURES = (0, 2, 4, 6, 250, 252, 254, 256, 258, 260)
"""Frames of the sample clip in which she is calm, and then smiles."""

PICTURES_FPS = 6
"""So that she smiles for long enough to be told of, and not each of them is searched for faces, which takes long."""

LIMIT_S = 900.0
"""For one examination: half a minute on an idle machine."""

OUTPUTS, DECODED, PICTURES_FOLDER = "outputs.npz", "decoded.npy", "pictures"

CLIP = "clip"
"""The flow that plays the sample clip itself."""

NEEDS_ATOMICS = "libLiteRtWebGpuAccelerator.so"
"""Of LiteRT, for graphics processors: whoever loads it on a processor of ARMv8.0 is ended. Nobody must."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a machine answered."""

    answers: tuple[dict[str, Any], ...]
    exit_code: int
    complaint: str  # the end of its standard error
    folder: Path  # of the files that it wrote

    def every(self, what: str) -> list[dict[str, Any]]:
        return [answer for answer in self.answers if answer["what"] == what]

    def one(self, what: str, **fields: Any) -> dict[str, Any]:
        (found,) = (answer for answer in self.every(what) if fields.items() <= answer.items())
        return found

    @property
    def crash(self) -> str:
        """How it ended, and what it was at; "" where it came to its end."""
        if self.exit_code == 0 and self.answers and self.answers[-1]["what"] == "done":
            return ""
        return f"ended with {self.exit_code} after {self.answers[-1:]}:\n{self.complaint}"

    @property
    def outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        with np.load(self.folder / OUTPUTS) as archive:
            return dict(archive)

    @property
    def decoded(self) -> npt.NDArray[np.uint8]:
        return np.asarray(np.load(self.folder / DECODED), np.uint8)


class Lab:
    """All examinations of a test run, each done once. Trials that come down to the same are one examination."""

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        """Starts to build what is missing, and to examine, for these trials."""
        self._folder = folder
        self._inputs = make_inputs(folder)
        self._lock, self._runs = threading.Lock(), dict[tuple[object, ...], Future[Examined]]()
        self._sites: dict[Trial, Site] = {}
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._reference = self._pool.submit(self._examine_this_machine)
        self._examined = {trial: self._pool.submit(self._examine, trial) for trial in trials}

    def close(self) -> None:
        """Wait for what has begun; nothing else begins."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def reference(self) -> Examined:
        """What this machine answered. Its flows have the name of the runtime, too."""
        return self._reference.result()

    def examined(self, trial: Trial) -> Examined:
        """What that Python on that processor answered; Unavailable where this machine cannot try it."""
        return self._examined[trial].result().result()

    def site(self, trial: Trial) -> Site:
        """What was installed for one that was examined."""
        return self._sites[trial]

    def load(self, trial: Trial, folder: Path) -> Examined:
        """Only load the shared objects of a folder, as that trial would."""
        return self._emulate(trial, trial.site(), {"flows": {}, "load": [str(folder)]})

    def _examine(self, trial: Trial) -> Future[Examined]:
        """Examine it, unless the same is examined for another trial; nobody waits here for that."""
        site, root = trial.site(), trial.userland.folder()
        self._sites[trial] = site
        key = (site.folder, root, trial.cpu, trial.environment, trial.plays_clip, trial.on_old_python and trial.set_key)
        with self._lock:
            is_first, run = key not in self._runs, self._runs.setdefault(key, Future())
        if is_first:
            try:
                run.set_result(self._emulate(trial, site, self._plan(trial, site)))
            except BaseException as err:  # noqa: BLE001 - whoever waits for it must get it
                run.set_exception(err)
        return run

    def _plan(self, trial: Trial, site: Site) -> dict[str, Any]:
        plan = {**self._inputs, "site": str(site.folder), "runtimes": site.runtimes, "load": [str(site.folder)]}
        if trial.on_old_python:
            return {**plan, "flows": {}, "load": [*plan["load"], str(locked_site(trial.wheel_set).folder)]}
        plan["flows"] = {name: flow(uri) for name, uri in self._cameras().items() if name != CLIP or trial.plays_clip}
        return {**plan, "decoded": DECODED} if trial.plays_clip else plan

    def _emulate(self, trial: Trial, site: Site, plan: dict[str, Any]) -> Examined:
        root = trial.userland.folder()
        python = root / "usr" / "bin" / f"python{trial.userland.python}"
        environment = {
            **dict(trial.environment),
            "PYTHONHOME": str(root / "usr"),
            "PYTHONPATH": f"{site.folder}:{PROJECT}",
            # Compiling all modules costs more than running them; the next time they are there.
            "PYTHONPYCACHEPREFIX": str(site.folder.parent / "compiled"),
            "PYTHONNOUSERSITE": "1",
            "HOME": str(self._folder),
        }
        left_out = [NEEDS_ATOMICS] if trial.cpu in WITHOUT_ATOMICS else []
        emulator = [str(qemu()), "-cpu", trial.cpu, "-L", str(root), str(python)]
        return self._run(emulator, environment, {**plan, "left_out": left_out})

    def _examine_this_machine(self) -> Examined:
        flows = {
            f"{name} {runtime}": flow(uri, runtime)
            for name, uri in self._cameras().items()
            for runtime in installed_runtimes()
        }
        plan = {**self._inputs, "runtimes": installed_runtimes(), "decoded": DECODED, "flows": flows, "load": []}
        environment = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
        return self._run([sys.executable], {**environment, "PYTHONPATH": str(PROJECT)}, plan)

    def _cameras(self) -> dict[str, str]:
        shown = f"fps={PICTURES_FPS}&seconds={1 / PICTURES_FPS:.3f}"
        return {"pictures": f"images:{self._folder / PICTURES_FOLDER}?{shown}", CLIP: "sample:"}

    def _run(self, python: Sequence[str], environment: Mapping[str, str], plan: dict[str, Any]) -> Examined:
        folder = Path(tempfile.mkdtemp(prefix="examined-", dir=self._folder))
        (folder / "plan.json").write_text(json.dumps(plan))
        done = subprocess.run(
            [*python, str(Path(__file__).with_name("armexam.py")), "plan.json"],
            cwd=folder,
            # No state of a daemon of this machine, such as a tuning, is theirs.
            env={"PATH": os.defpath, "LANG": "C.UTF-8", **environment, "XDG_STATE_HOME": str(folder)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
        (folder / "answers.jsonl").write_text(done.stdout)  # for people
        answers = tuple(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        return Examined(answers, done.returncode, done.stderr[-2000:], folder)


def flow(uri: str, runtime: Runtime | None = None) -> dict[str, Any]:
    """What is to be played, by default on the runtime that edge_fer chooses by itself."""
    model = {"model": {"runtime": runtime}} if runtime else {}
    return {"frames": FRAMES, "tables": {"camera": {"front": {"uri": uri}}, **model}}


def make_inputs(folder: Path) -> dict[str, Any]:
    """Pictures of the sample clip, and what each model is fed with, as files; what a plan says of them."""
    source = open_source(parse_camera_uri("sample:"))
    frames = [picture.bgr for number, picture in enumerate(source.pictures()) if number in PICTURES]
    source.close()
    (folder / PICTURES_FOLDER).mkdir()
    for number, bgr in enumerate(frames):
        cv2.imwrite(str(folder / PICTURES_FOLDER / f"{number:02d}.png"), bgr)
    detector, chance = FaceDetector("full"), np.random.default_rng(7)
    crops = [normalise(crop_face(bgr, detector.detect(bgr)[0])[None]).reshape(1, 48, 48, 1) for bgr in frames]
    fed = np.stack([*crops, *chance.uniform(-1, 1, (4, 1, 48, 48, 1)).astype(np.float32)])
    models = sorted(MODELS.glob("*.tflite"))
    # A float32 network takes 20 times as long here as an int8 one.
    inputs = {model.name: fed if "int8" in model.name else fed[[0, len(frames) - 1, -1]] for model in models}
    for name, blaze_face in BLAZEFACE.items():
        size_px = FaceDetector(name).graph.inputs[0].shape[1]
        inputs[blaze_face.file] = np.stack([_letterbox(frames[0], size_px)[0]])
    np.savez(folder / "inputs.npz", **inputs)
    return {"inputs": str(folder / "inputs.npz"), "outputs": OUTPUTS, "models": [str(model) for model in models]}
