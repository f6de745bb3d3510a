from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn_shapes import VALID_IMAGES, TinyTraining

from converter.convert import Conversion, convert
from converter.data import load_labelled, load_training
from converter.evaluate import set_report
from converter.inference import Outcome, infer
from converter.network import NANO_B, count_macs
from converter.quantise import calibration_faces, to_tflite
from converter.recipe import read_conversion_recipe
from converter.sources.files import read_weights
from converter.verify import check, fast_runtimes, verify
from edge_fer.align import normalise
from edge_fer.card import card_path, load_verified
from edge_fer.classify import ExpressionReader, NetworkName, calibrated, model_path
from edge_fer.errors import ModelError, UnavailableError, UsageError
from edge_fer.labels import EXPRESSIONS
from edge_fer.tflite import Graph, GraphSize, Precision, Runtime, XnnpackShare, installed_runtimes

if TYPE_CHECKING:
    import keras

DATA = Path(os.environ.get("EDGE_FER_DATA", Path(__file__).parents[3] / "shared/data"))

RECIPES = dict(read_conversion_recipe(name) for name in ("float32", "float16", "int8", "int8-float-io", "dynamic"))


def job_of(trained: TinyTraining, out: Path, *recipes: str) -> Conversion:
    chosen = {name: RECIPES[name] for name in recipes}
    return Conversion(trained.weights, chosen, out, calibration=trained.train_npz, validation=trained.valid_npz)


@pytest.fixture(scope="module")
def models(trained: TinyTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny training as files of every recipe, with their cards."""
    out = tmp_path_factory.mktemp("models")
    convert(job_of(trained, out, *RECIPES))
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_and_a_card_by_each_recipe_and_nothing_else(models: Path) -> None:
    expected = [f"emotionnet_nano_b_{name}{suffix}" for name in RECIPES for suffix in (".json", ".tflite")]
    assert sorted(contents(models)) == sorted(expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_card_tells_what_the_file_depends_on(models: Path, trained: TinyTraining, recipe: str) -> None:
    path = models / f"emotionnet_nano_b_{recipe}.tflite"
    _, card = load_verified(path)
    assert card.name == f"emotionnet_nano_b_{recipe}"
    assert (card.labels, card.precision, card.input_px, card.input_channels) == (EXPRESSIONS, recipe, 48, 1)
    # Counted in the converted graph, against the layer table.
    assert (card.parameters, card.macs, card.size_bytes) == (141_098 + 65, count_macs(NANO_B, 8), path.stat().st_size)
    assert "141.1K parameters reconstructed, 136K published" in card.description
    assert card.recipe["weights_sha256"] == hashlib.sha256(trained.weights.read_bytes()).hexdigest()
    assert card.recipe["validation_sha256"] == hashlib.sha256(trained.valid_npz.read_bytes()).hexdigest()
    assert ("calibration_sha256" in card.recipe) == recipe.startswith("int8")
    training = card.recipe["training"]
    assert training["inputs"]["training set"] == hashlib.sha256(trained.train_npz.read_bytes()).hexdigest()
    assert {key: training["recipe"][key] for key in ("network", "seed")} == {"network": "nano_b", "seed": 7}
    assert card.training_prior == pytest.approx(load_training(trained.train_npz).prior)
    assert card.recipe["verified"]["faces"] == VALID_IMAGES
    figures = card.metrics[card.default_operating_point]
    assert figures["accuracy"] > 0.7
    assert figures["n"] < figures["all"]["n"] == VALID_IMAGES
    for credited in ("Goodfellow", "Barsoum"):
        assert credited in card.training_data
    for limit in ("not a diagnosis", "EU AI Act", "Contempt, disgust and fear"):
        assert limit in card.limits


@pytest.mark.parametrize("recipe", RECIPES)
def test_evaluating_the_file_gives_the_figures_of_its_card(models: Path, trained: TinyTraining, recipe: str) -> None:
    content, card = load_verified(models / f"emotionnet_nano_b_{recipe}.tflite")
    faces = load_labelled(trained.valid_npz)
    outputs = infer(
        Graph("model", content, runtime=fast_runtimes(RECIPES[recipe], installed_runtimes())[0]), faces.images
    )
    for name, point in card.operating_points.items():
        assert set_report(outputs, card.output, point, faces, "valid") == card.metrics[name]


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_the_daemon_reads_what_the_trained_network_reads(models: Path, trained: TinyTraining, recipe: str) -> None:
    images = load_labelled(trained.valid_npz).images
    runtime = fast_runtimes(RECIPES[recipe], installed_runtimes())[0]
    reader = ExpressionReader(models / f"emotionnet_nano_b_{recipe}.tflite", runtime=runtime)
    assert reader.point_name == "dashboard"
    # Against the network and not the labels: how well two epochs learn depends on the processor's sums.
    logits = read_weights(trained.weights, "nano_b", 8).model.predict(normalise(images)[..., None], verbose=0)
    expected = calibrated(logits, "logits", reader.point)
    found = reader.read_all(images)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(images)), abs=1e-6)
    if recipe == "float32":
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        clear = expected.max(axis=1) - np.sort(expected, axis=1)[:, -2] > 0.2
        assert clear.any()
        assert (found.argmax(axis=1) == expected.argmax(axis=1))[clear].all()


@pytest.mark.parametrize(
    ("recipe", "takes", "gives"),
    [("int8", np.int8, np.int8), ("int8-float-io", np.float32, np.float32), ("dynamic", np.float32, np.float32)],
)
def test_what_stands_at_the_ends(models: Path, trained: TinyTraining, recipe: str, takes: type, gives: type) -> None:
    graph = Graph(recipe, (models / f"emotionnet_nano_b_{recipe}.tflite").read_bytes())
    assert [tensor.dtype for tensor in (*graph.inputs, *graph.outputs)] == [takes, gives]
    assert graph.inputs[0].shape == (1, 48, 48, 1)
    if takes is np.int8:
        seen = normalise(calibration_faces(load_training(trained.train_npz).images, RECIPES[recipe]))
        assert graph.inputs[0].quant.scale == pytest.approx((seen.max() - seen.min()) / 255, rel=1e-3)


def test_narrower_weights_make_smaller_files(models: Path) -> None:
    size = {name: (models / f"emotionnet_nano_b_{name}.tflite").stat().st_size for name in RECIPES}
    assert size["float16"] < 0.6 * size["float32"]
    assert max(size["int8"], size["dynamic"]) < 0.4 * size["float32"]


def test_the_same_weights_give_the_same_bytes(models: Path, trained: TinyTraining) -> None:
    faces = calibration_faces(load_training(trained.train_npz).images, RECIPES["int8"])
    content = (models / "emotionnet_nano_b_int8.tflite").read_bytes()
    assert to_tflite(read_weights(trained.weights, "nano_b", 8).model, RECIPES["int8"], faces) == content


def test_calibration_is_a_seeded_sample() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(4)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    sample = calibration_faces(images, RECIPES["int8"])
    assert len(sample) == 500
    assert np.array_equal(sample, calibration_faces(images, RECIPES["int8"]))
    assert len(np.unique(sample[:, 0, 0])) > 150


def test_existing_files_stay_unless_forced(models: Path, trained: TinyTraining, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "emotionnet_nano_b_float32.json").write_text("mine")
    job = job_of(trained, out, "float32")
    with pytest.raises(UsageError, match=r"emotionnet_nano_b_float32\.json: is there already; --force"):
        convert(job)
    assert contents(out) == {"emotionnet_nano_b_float32.json": b"mine"}
    assert convert(replace(job, force=True)) == [out / "emotionnet_nano_b_float32.tflite"]
    assert contents(out) == {name: data for name, data in contents(models).items() if "float32" in name}


def classifier(channels: int, activation: str | None) -> keras.Model:
    """A small image classifier of three labels that is no Nano."""
    import keras

    keras.utils.set_random_seed(5)
    image = keras.Input((32, 32, channels))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.SeparableConv2D(12, 3, activation="relu")(x))
    return keras.Model(image, keras.layers.Dense(3, activation=activation)(x))


@pytest.mark.parametrize(("channels", "activation"), [(1, None), (3, "softmax")])
def test_any_image_classifier_converts(
    trained: TinyTraining, tmp_path: Path, channels: int, activation: str | None
) -> None:
    classifier(channels, activation).save(tmp_path / "own.keras")
    with np.load(trained.train_npz) as stored:
        np.savez(tmp_path / "faces.npz", images=stored["images"])
    job = Conversion(
        tmp_path / "own.keras",
        {"int8": RECIPES["int8"]},
        tmp_path / "out",
        calibration=tmp_path / "faces.npz",
        labels=("calm", "loud", "absent"),
        scaling="0..1",
    )
    (path,) = convert(job)
    assert path.name == "own_int8.tflite"
    _, card = load_verified(path)
    assert (card.labels, card.input_px, card.input_channels) == (("calm", "loud", "absent"), 32, channels)
    assert (card.output, card.metrics, list(card.operating_points)) == ("logits", {}, ["as_trained"])
    assert "Not recorded" in card.training_data
    assert "FER2013" not in card.model_dump_json()
    with pytest.raises(ModelError, match="reads 'calm'; edge-fer knows neutral"):
        ExpressionReader(path)


def test_int8_without_faces_is_refused(trained: TinyTraining, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs faces to measure its ranges on: give --calibration"):
        convert(replace(job_of(trained, tmp_path / "out", "int8"), calibration=None))
    with pytest.raises(UsageError, match="--validation or --calibration must name 300 faces"):
        convert(replace(job_of(trained, tmp_path / "out", "float32"), calibration=None, validation=None))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((400, 48, 40), np.uint8), "images are 48 x 40 px, but faces must be cut out square"),
        (np.zeros((400, 48, 48), np.float32), r"images are float32 \(400, 48, 48\), but must be uint8"),
        (np.zeros((0, 48, 48), np.uint8), "0 images"),
    ],
)
def test_calibration_images_of_the_wrong_kind(
    trained: TinyTraining, tmp_path: Path, images: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "odd.npz", images=images)
    job = replace(job_of(trained, tmp_path / "out", "int8"), calibration=tmp_path / "odd.npz", validation=None)
    with pytest.raises(UnavailableError, match=rf"odd\.npz: {message}"):
        convert(job)
    assert not (tmp_path / "out").exists()


def poison(model: keras.Model) -> keras.Model:
    kernel, bias = model.get_layer("logits").get_weights()
    kernel[0, 0] = np.nan
    model.get_layer("logits").set_weights([kernel, bias])
    return model


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        ("nano_a", lambda model: model, r"L1 has the shapes \[\(3, 3, 1, 11\)\], but nano_a needs \[\(3, 3, 1, 14\)\]"),
        ("nano_b", poison, "layer logits holds NaN or infinite weights"),
    ],
)
def test_wrong_weights_are_refused_and_nothing_is_written(
    trained: TinyTraining,
    tmp_path: Path,
    network: NetworkName,
    change: Callable[[keras.Model], keras.Model],
    message: str,
) -> None:
    import keras

    change(keras.saving.load_model(trained.weights, compile=False)).save(tmp_path / "odd.keras")
    job = replace(job_of(trained, tmp_path / "out", "float32"), weights=tmp_path / "odd.keras", network=network)
    with pytest.raises(ModelError, match=message):
        convert(job)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_unreadable_weights_are_named(trained: TinyTraining, tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "odd.keras").write_bytes(content)
    with pytest.raises(UnavailableError, match=r"odd\.keras: "):
        convert(replace(job_of(trained, tmp_path / "out", "float32"), weights=tmp_path / "odd.keras"))


def test_a_damaged_record_is_named(trained: TinyTraining, tmp_path: Path) -> None:
    (tmp_path / "odd.keras").write_bytes(trained.weights.read_bytes())
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(ModelError, match=r"odd\.json: lies beside .* but is none \(training_prior: Field required"):
        convert(replace(job_of(trained, tmp_path / "out", "float32"), weights=tmp_path / "odd.keras"))


def test_a_record_of_other_labels_is_refused(trained: TinyTraining, tmp_path: Path) -> None:
    job = replace(job_of(trained, tmp_path / "out", "float32"), labels=("calm", *EXPRESSIONS[1:]))
    with pytest.raises(ModelError, match=r"trained\.json: the network was trained on neutral, .* labels are calm"):
        convert(job)


def test_without_validation_faces_the_record_still_gives_the_operating_points(
    trained: TinyTraining, tmp_path: Path
) -> None:
    (path,) = convert(replace(job_of(trained, tmp_path, "float32"), validation=None))
    _, card = load_verified(path)
    assert list(card.operating_points) == ["observed", "dashboard", "balanced"]
    assert {point.temperature for point in card.operating_points.values()} == {1}
    assert card.metrics == {}
    assert "Nothing was measured" in card.training_data


def test_too_few_faces_to_verify_on(trained: TinyTraining, tmp_path: Path) -> None:
    with np.load(trained.valid_npz) as stored:
        np.savez(tmp_path / "few.npz", **{name: array[:299] for name, array in stored.items()})
    job = replace(job_of(trained, tmp_path / "out", "float32"), validation=tmp_path / "few.npz")
    with pytest.raises(UnavailableError, match=r"few\.npz: 299 images .*, but verification needs 300"):
        convert(job)
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_fails_on_its_runtime(models: Path) -> None:
    content = (models / "emotionnet_nano_b_float32.tflite").read_bytes()
    faces, expected = np.zeros((300, 48, 48), np.uint8), np.zeros((300, 8), np.float32)
    with pytest.raises(ModelError, match=r"half\.tflite: does not run on .*cannot load this model"):
        verify("half.tflite", content[: len(content) // 2], RECIPES["float32"], faces, expected)


EXPECTED = np.eye(8, dtype=np.float32)[np.arange(400) % 8]
WHOLE = XnnpackShare(40, 40)


def outcome(outputs: np.ndarray, share: XnnpackShare = WHOLE) -> Outcome:
    return Outcome(outputs, share, GraphSize(40, 0, 0))


def misread(count: int) -> np.ndarray:
    logits = EXPECTED.copy()
    logits[:count] = np.roll(logits[:count], 1, axis=1)
    return logits


@pytest.mark.parametrize(
    ("recipe", "runtime", "seen", "message"),
    [
        (
            "float32",
            "litert",
            outcome(EXPECTED + np.float32(2e-4)),
            "litert outputs differ from Keras by 0.0002",
        ),
        ("float32", "litert", outcome(EXPECTED * np.nan), "outputs differ from Keras by nan"),
        (
            "float32",
            "tflite-runtime",
            outcome(EXPECTED, XnnpackShare(39, 40)),
            "39 of 40 operators on tflite-runtime",
        ),
        ("int8", "litert", outcome(EXPECTED, XnnpackShare(0, 40)), "takes 0 of 40 operators on litert"),
        (
            "int8",
            "litert",
            outcome(misread(9)),
            "reads 97.8% of 400 faces as Keras does, but must 98%",
        ),
    ],
)
def test_what_fails_the_check(recipe: str, runtime: Runtime, seen: Outcome, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check("m.tflite", RECIPES[recipe], runtime, seen, EXPECTED)


@pytest.mark.parametrize(
    ("recipe", "runtime", "seen"),
    [
        ("float32", "litert", outcome(EXPECTED + np.float32(5e-5))),
        ("int8", "litert", outcome(misread(8))),
        ("int8", "tflite-runtime", outcome(EXPECTED, XnnpackShare(0, 40))),  # known to leave int8 alone
    ],
)
def test_what_passes_the_check(recipe: str, runtime: Runtime, seen: Outcome) -> None:
    check("m.tflite", RECIPES[recipe], runtime, seen, EXPECTED)


@pytest.mark.parametrize("network", ["nano_a", "nano_b"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_shipped_cards(network: NetworkName, precision: Precision) -> None:
    path = card_path(model_path(network, precision))
    content, card = load_verified(path.with_suffix(".tflite"))
    assert card.name == path.stem
    assert card.labels == EXPRESSIONS
    assert json.loads(path.read_bytes())["labels"] == list(EXPRESSIONS)
    runtimes = fast_runtimes(RECIPES[precision], installed_runtimes())
    if not runtimes:
        pytest.skip(f"no runtime here runs {card.precision} on XNNPACK: pip install 'edge-fer[litert]'")
    valid = DATA / "ferplus_valid.npz"
    if not valid.exists():
        pytest.skip(f"{valid} is missing; EDGE_FER_DATA names its folder")
    faces = load_labelled(valid)
    outputs = infer(Graph(card.name, content, runtime=runtimes[0]), faces.images)
    for name, point in card.operating_points.items():
        assert set_report(outputs, card.output, point, faces, str(valid)) == card.metrics[name]


@pytest.mark.parametrize(("network", "accuracy", "recall"), [("nano_b", 0.87, 0.72), ("nano_a", 0.88, 0.74)])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_shipped_figures(network: NetworkName, precision: Precision, accuracy: float, recall: float) -> None:
    """What the documents promise of the shipped files, whose figures the test above measures again."""
    _, card = load_verified(model_path(network, precision))
    assert card.metrics["observed"]["accuracy"] >= accuracy
    assert card.metrics["balanced"]["macro_recall"] >= recall
    assert all(figures["ece"] <= 0.03 for figures in card.metrics.values())
