import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from drawn_shapes import TinyTraining

from converter.cli import cli
from edge_fer.classify import model_path

CHECKOUT = Path(__file__).parents[2]


def converter(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "converter", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)


@pytest.mark.parametrize(
    "command", ["train", "convert", "evaluate", "report", "crossval", "data", "assets", "baseline"]
)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_convert_then_evaluate(trained: TinyTraining, tmp_path: Path) -> None:
    arguments = ("convert", trained.weights, "--recipe", "float32", "--validation", trained.valid_npz)
    done = converter(*arguments, "--out", tmp_path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    model, valid = tmp_path / "emotionnet_nano_b_float32.tflite", trained.valid_npz
    page = model.with_suffix(".html").read_text()
    for told in ("Main figures", "balanced", "recropped"):
        assert told in page
    metrics = json.loads(model.with_suffix(".json").read_text())["metrics"]
    for prior in ("observed", "balanced"):
        evaluated = converter("evaluate", "--model", model, "--data", valid, "--json", "--prior", prior)
        report = json.loads(evaluated.stdout)
        assert report.pop("operating_point") == prior
        assert report.pop("temperature") > 0
        assert report == metrics[prior]
    table = converter("evaluate", "--model", model, "--data", valid)
    for told in ("contempt", "operating point dashboard", "calibration error", "closed", "abstaining"):
        assert told in table.stdout
    again = converter(*arguments, "--out", tmp_path)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (
        2,
        f"converter: {model}: is there already; --force replaces it",
    )
    np.savez(tmp_path / "empty.npz", images=np.zeros((0, 48, 48), np.uint8), votes=np.zeros((0, 10), np.uint8))
    empty = converter("evaluate", "--model", model, "--data", tmp_path / "empty.npz")
    assert (empty.returncode, empty.stdout) == (os.EX_UNAVAILABLE, "")
    assert f"converter: {tmp_path / 'empty.npz'}: no image to evaluate on" in empty.stderr
    assert "Traceback" not in empty.stderr
    model.write_bytes(model.read_bytes()[:1000])
    damaged = converter("evaluate", "--model", model, "--data", valid)
    assert damaged.returncode == os.EX_UNAVAILABLE
    assert "emotionnet_nano_b_float32.tflite: sha256 is" in damaged.stderr
    assert "(1000 bytes)" in damaged.stderr


@pytest.mark.parametrize(
    ("prior", "message"), [("often", "--prior: found 'often'; give 'default'"), ("1,2", "--prior: found 2 numbers")]
)
def test_a_wrong_prior_is_a_usage_error(prior: str, message: str) -> None:
    model = model_path("nano_b", "float32")
    done = converter("evaluate", "--model", model, "--data", "none.npz", "--prior", prior)
    assert done.returncode == 2
    assert message in done.stderr


def test_labels_of_ones_own_are_checked(trained: TinyTraining, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    arguments = ("convert", trained.weights, "--validation", trained.valid_npz, "--out", tmp_path / "out")
    missing = converter(*arguments, "--labels", labels)
    assert (missing.returncode, "labels.txt: cannot be read" in missing.stderr) == (os.EX_UNAVAILABLE, True)
    labels.write_text("calm\ncalm\n")
    twice = converter(*arguments, "--labels", labels)
    assert (twice.returncode, "holds 2 labels, 1 different" in twice.stderr) == (os.EX_UNAVAILABLE, True)


def test_a_finished_training_prints_its_last_figures(trained: TinyTraining) -> None:
    done = converter("train", "--recipe", trained.recipe_file, "--data", trained.data, "--out", trained.out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{trained.weights}: 2 epochs, loss 0.")


@pytest.mark.parametrize(
    ("recipe", "data", "exit_code", "message"),
    [
        ('network = "nano_b"\nepochs = 1\nspeed = 2\n', "", os.EX_CONFIG, "recipe.toml: speed: Extra inputs"),
        ('network = "nano_b"\nepochs = 1\n', "none", os.EX_UNAVAILABLE, "none: no such folder; --data must hold"),
        ('network = "nano_b"\nepochs = 1\n', "", os.EX_UNAVAILABLE, "ferplus_train.npz: cannot be read (No such file"),
    ],
)
def test_wrong_input_to_train_is_named(tmp_path: Path, recipe: str, data: str, exit_code: int, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(recipe)
    out = tmp_path / "out"
    failed = converter("train", "--recipe", tmp_path / "recipe.toml", "--data", tmp_path / data, "--out", out)
    last = failed.stderr.splitlines()[-1]
    assert failed.returncode == exit_code
    assert last.startswith("converter: ")
    assert message in last
    assert "Traceback" not in failed.stderr
    assert not out.exists()


def test_baseline_measures_tensorflow_in_graph_mode_and_by_predict() -> None:
    done = converter("baseline", "--seconds", 0.05, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["network"], result["threads"]) == ("nano_b", 1)
    for how in ("graph", "predict"):
        assert result[f"{how}_runs"] >= 1
        assert 0 < result[f"{how}_ms_median"] <= result[f"{how}_ms_p95"]
        assert result[f"{how}_cpu_ms_mean"] > 0
