from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn_shapes import TRAIN_IMAGES, VALID_IMAGES, TinyTraining

from converter.convert import Conversion, convert
from converter.data import load_labelled, load_training
from converter.evaluate import set_report
from converter.inference import Outcome, infer
from converter.network import NANO_B, count_macs
from converter.quantise import calibration_faces, load_trained, to_int8
from converter.verify import check, fast_runtimes, verify
from edge_fer.align import normalise
from edge_fer.card import card_path, load_verified
from edge_fer.classify import ExpressionReader, NetworkName, model_path, softmax
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import Graph, Precision, Runtime, XnnpackShare, installed_runtimes

if TYPE_CHECKING:
    import keras

DATA = Path(os.environ.get("EDGE_FER_DATA", Path(__file__).parents[3] / "shared/data"))


@pytest.fixture(scope="module")
def models(trained: TinyTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny training as both files, with their cards."""
    out = tmp_path_factory.mktemp("models")
    convert(Conversion(trained.checkpoint, trained.recipe, trained.data, out))
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_files_and_cards_and_nothing_else(models: Path) -> None:
    assert sorted(contents(models)) == [
        "emotionnet_nano_b_float32.json",
        "emotionnet_nano_b_float32.tflite",
        "emotionnet_nano_b_int8.json",
        "emotionnet_nano_b_int8.tflite",
    ]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_card_tells_what_the_file_depends_on(models: Path, trained: TinyTraining, precision: str) -> None:
    _, card = load_verified(models / f"emotionnet_nano_b_{precision}.tflite")
    assert card.name == f"emotionnet_nano_b_{precision}"
    assert (card.labels, card.precision, card.input_px, card.input_channels) == (EXPRESSIONS, precision, 48, 1)
    assert (card.parameters, card.macs) == (141_098 + 65, count_macs(NANO_B, 8))
    assert "141.1K parameters reconstructed, 136K published" in card.description
    assert card.recipe["checkpoint_sha256"] == hashlib.sha256(trained.checkpoint.read_bytes()).hexdigest()
    assert card.recipe["train_sha256"] == hashlib.sha256((trained.data / "ferplus_train.npz").read_bytes()).hexdigest()
    assert {key: card.recipe[key] for key in ("network", "seed")} == {"network": "nano_b", "seed": 7}
    assert ("calibration_images" in card.recipe) == (precision == "int8")
    assert card.metrics["accuracy"] > 0.7
    assert card.metrics["n"] < card.metrics["all"]["n"] == VALID_IMAGES
    for credited in ("Goodfellow", "Barsoum"):
        assert credited in card.training_data
    for limit in ("not a diagnosis", "EU AI Act", "Contempt, disgust and fear"):
        assert limit in card.limits


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_evaluating_the_file_gives_the_figures_of_its_card(models: Path, trained: TinyTraining, precision: str) -> None:
    content, card = load_verified(models / f"emotionnet_nano_b_{precision}.tflite")
    faces = load_labelled(trained.data / "ferplus_valid.npz")
    runtime = fast_runtimes(card.precision, installed_runtimes())[0]
    report = set_report(softmax(infer(Graph("model", content, runtime=runtime), faces.images)), faces, "valid")
    assert report == card.metrics


def test_the_daemon_reads_the_files(models: Path, trained: TinyTraining) -> None:
    faces = load_labelled(trained.data / "ferplus_valid.npz")
    for precision in ("float32", "int8"):
        reader = ExpressionReader(models / f"emotionnet_nano_b_{precision}.tflite")
        probabilities = reader.read(faces.images[0])
        assert probabilities.sum() == pytest.approx(1, abs=1e-6)
        assert int(probabilities.argmax()) == faces.labels[0]


def test_int8_is_int8_from_end_to_end(models: Path, trained: TinyTraining) -> None:
    graph = Graph("int8", (models / "emotionnet_nano_b_int8.tflite").read_bytes())
    assert [tensor.dtype for tensor in (*graph.inputs, *graph.outputs)] == [np.int8, np.int8]
    assert graph.inputs[0].shape == (1, 48, 48, 1)
    seen = normalise(calibration_faces(load_training(trained.data / "ferplus_train.npz").images))
    assert graph.inputs[0].quant.scale == pytest.approx((seen.max() - seen.min()) / 255, rel=1e-3)


def test_the_same_weights_give_the_same_bytes(models: Path, trained: TinyTraining) -> None:
    faces = calibration_faces(load_training(trained.data / "ferplus_train.npz").images)
    content = (models / "emotionnet_nano_b_int8.tflite").read_bytes()
    assert to_int8(load_trained(trained.checkpoint, "nano_b"), faces) == content


def test_calibration_is_a_seeded_sample() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(4)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    sample = calibration_faces(images)
    assert len(sample) == 500
    assert np.array_equal(sample, calibration_faces(images))
    assert len(np.unique(sample[:, 0, 0])) > 150


def test_existing_files_stay_unless_forced(models: Path, trained: TinyTraining, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "emotionnet_nano_b_float32.json").write_text("mine")
    job = Conversion(trained.checkpoint, trained.recipe, trained.data, out, ("float32",))
    with pytest.raises(UsageError, match=r"emotionnet_nano_b_float32\.json: is there already; --force"):
        convert(job)
    assert contents(out) == {"emotionnet_nano_b_float32.json": b"mine"}
    forced = Conversion(trained.checkpoint, trained.recipe, trained.data, out, ("float32",), force=True)
    assert convert(forced) == [out / "emotionnet_nano_b_float32.tflite"]
    assert contents(out) == {name: data for name, data in contents(models).items() if "float32" in name}


def test_prior_shift_moves_the_logits_and_stands_in_the_card(
    models: Path, trained: TinyTraining, tmp_path: Path
) -> None:
    with np.load(trained.data / "ferplus_train.npz") as stored:
        arrays = dict(stored)
    number = np.arange(TRAIN_IMAGES)
    keep = np.flatnonzero((number % 8 != 7) | (number % 16 == 7))  # half of the last shape
    np.savez(tmp_path / "ferplus_train.npz", **{name: array[keep] for name, array in arrays.items()})
    (tmp_path / "ferplus_valid.npz").write_bytes((trained.data / "ferplus_valid.npz").read_bytes())
    job = Conversion(trained.checkpoint, trained.recipe, tmp_path, tmp_path / "out", ("float32",), prior_shift=0.5)
    (shifted,) = convert(job)
    content, card = load_verified(shifted)
    assert card.recipe["prior_shift"] == 0.5
    face = load_labelled(trained.data / "ferplus_valid.npz").images[:1]
    plain = infer(Graph("plain", (models / shifted.name).read_bytes()), face)[0]
    prior = load_training(tmp_path / "ferplus_train.npz").prior
    # Both are float32 sums of 64 products, as the comparison with Keras allows.
    assert infer(Graph("shifted", content), face)[0] - plain == pytest.approx(0.5 * np.log(prior), abs=1e-4)


def poison(model: keras.Model) -> keras.Model:
    kernel, bias = model.get_layer("logits").get_weights()
    kernel[0, 0] = np.nan
    model.get_layer("logits").set_weights([kernel, bias])
    return model


def replace(_: keras.Model) -> keras.Model:
    import keras

    return keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Conv2D(11, 3, name="first")])


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (
            "nano_a",
            lambda model: model,
            r"layer L1 has the shapes .*1, 11\)\], but nano_a needs .*1, 14\)\]",
        ),
        ("nano_b", poison, "layer logits holds NaN or infinite weights"),
        ("nano_b", replace, "layer first has weights, but nano_b has no such layer"),
    ],
)
def test_wrong_weights_are_refused_and_nothing_is_written(
    trained: TinyTraining,
    tmp_path: Path,
    network: str,
    change: Callable[[keras.Model], keras.Model],
    message: str,
) -> None:
    import keras

    change(keras.saving.load_model(trained.checkpoint, compile=False)).save(tmp_path / "odd.keras")
    recipe = trained.recipe.model_copy(update={"network": network})
    with pytest.raises(ModelError, match=message):
        convert(Conversion(tmp_path / "odd.keras", recipe, trained.data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_an_unreadable_checkpoint_is_named(trained: TinyTraining, tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "odd.keras").write_bytes(content)
    with pytest.raises(UnavailableError, match=r"odd\.keras: (no such file|not a readable \.keras file)"):
        convert(Conversion(tmp_path / "odd.keras", trained.recipe, trained.data, tmp_path / "out"))


def test_too_few_faces_to_verify_on(trained: TinyTraining, tmp_path: Path) -> None:
    (tmp_path / "ferplus_train.npz").write_bytes((trained.data / "ferplus_train.npz").read_bytes())
    with np.load(trained.data / "ferplus_valid.npz") as stored:
        np.savez(tmp_path / "ferplus_valid.npz", **{name: array[:299] for name, array in stored.items()})
    with pytest.raises(UnavailableError, match=r"ferplus_valid\.npz: 299 images .*, but verification needs 300"):
        convert(Conversion(trained.checkpoint, trained.recipe, tmp_path, tmp_path / "out", ("float32",)))
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_fails_on_its_runtime(models: Path) -> None:
    content = (models / "emotionnet_nano_b_float32.tflite").read_bytes()
    faces, expected = np.zeros((300, 48, 48), np.uint8), np.zeros((300, 8), np.float32)
    with pytest.raises(ModelError, match=r"half\.tflite: does not run on .*cannot load this model"):
        verify("half.tflite", content[: len(content) // 2], "float32", faces, expected)


EXPECTED = np.eye(8, dtype=np.float32)[np.arange(400) % 8]
WHOLE = XnnpackShare(40, 40)


def misread(count: int) -> np.ndarray:
    logits = EXPECTED.copy()
    logits[:count] = np.roll(logits[:count], 1, axis=1)
    return logits


@pytest.mark.parametrize(
    ("precision", "runtime", "outcome", "message"),
    [
        (
            "float32",
            "litert",
            Outcome(EXPECTED + np.float32(2e-4), WHOLE),
            "litert logits differ from Keras by 0.0002",
        ),
        ("float32", "litert", Outcome(EXPECTED * np.nan, WHOLE), "logits differ from Keras by nan"),
        (
            "float32",
            "tflite-runtime",
            Outcome(EXPECTED, XnnpackShare(39, 40)),
            "39 of 40 operators on tflite-runtime",
        ),
        ("int8", "litert", Outcome(EXPECTED, XnnpackShare(0, 40)), "takes 0 of 40 operators on litert"),
        (
            "int8",
            "litert",
            Outcome(misread(9), WHOLE),
            "reads 97.8% of 400 faces as Keras does, but must 98%",
        ),
    ],
)
def test_what_fails_the_check(precision: Precision, runtime: Runtime, outcome: Outcome, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check("m.tflite", precision, runtime, outcome, EXPECTED)


@pytest.mark.parametrize(
    ("precision", "runtime", "outcome"),
    [
        ("float32", "litert", Outcome(EXPECTED + np.float32(5e-5), WHOLE)),
        ("int8", "litert", Outcome(misread(8), WHOLE)),
        ("int8", "tflite-runtime", Outcome(EXPECTED, XnnpackShare(0, 40))),  # known to leave int8 alone
    ],
)
def test_what_passes_the_check(precision: Precision, runtime: Runtime, outcome: Outcome) -> None:
    check("m.tflite", precision, runtime, outcome, EXPECTED)


@pytest.mark.parametrize("network", ["nano_a", "nano_b"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_shipped_cards(network: NetworkName, precision: Precision) -> None:
    path = card_path(model_path(network, precision))
    content, card = load_verified(path.with_suffix(".tflite"))
    assert card.name == path.stem
    assert card.labels == EXPRESSIONS
    assert json.loads(path.read_bytes())["labels"] == list(EXPRESSIONS)
    runtimes = fast_runtimes(card.precision, installed_runtimes())
    if not runtimes:
        pytest.skip(f"no runtime here runs {card.precision} on XNNPACK: pip install 'edge-fer[litert]'")
    valid = DATA / "ferplus_valid.npz"
    if not valid.exists():
        pytest.skip(f"{valid} is missing; EDGE_FER_DATA names its folder")
    faces = load_labelled(valid)
    report = set_report(softmax(infer(Graph(card.name, content, runtime=runtimes[0]), faces.images)), faces, str(valid))
    assert report == card.metrics
    assert card_path(path.with_suffix(".tflite")) == path
