from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from converter.inference import infer_apart
from converter.network import NANO_B, build
from converter.quantise import to_tflite
from converter.recipe import ConversionRecipe
from converter.sources.files import read_weights
from converter.sources.nano import fresh_float32
from edge_fer.align import normalise
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError, UsageError
from edge_fer.tflite import installed_runtimes

if TYPE_CHECKING:
    import keras

Arrays = dict[str, npt.NDArray[Any]]

FACES = np.random.default_rng(5).integers(0, 256, (8, 48, 48), np.uint8)
IMAGES = normalise(FACES)[..., None]

needs_safetensors = pytest.mark.skipif(
    not importlib.util.find_spec("safetensors"), reason="pip install 'edge-fer[convert]' for safetensors"
)


@dataclass(frozen=True)
class Nano:
    """A Nano-B with drawn weights, and what it gives for IMAGES."""

    model: keras.Model
    logits: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def nano() -> Nano:
    with fresh_float32():  # its unnamed layers counted from zero, whatever was built before
        model = build(NANO_B, 8)
    rng = np.random.default_rng(11)
    for weight in model.weights:
        positive = weight.name in {"gamma", "moving_variance"}
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.1, weight.shape))
    return Nano(model, model.predict(IMAGES, verbose=0))


@pytest.fixture(scope="module")
def exported(nano: Nano, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    nano.model.export(folder, verbose=False)
    return folder


@pytest.fixture
def saved_model(exported: Path, tmp_path: Path) -> Path:
    """A SavedModel that a test may damage."""
    shutil.copytree(exported, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def whole_files(nano: Nano, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Of each kind of file one that can be read."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {suffix: folder / f"whole{suffix}" for suffix in (".keras", ".weights.h5", ".npz", ".safetensors")}
    nano.model.save(paths[".keras"])
    nano.model.save_weights(paths[".weights.h5"])
    save_arrays(paths[".npz"], pytorch_arrays())
    if importlib.util.find_spec("safetensors"):
        save_arrays(paths[".safetensors"], pytorch_arrays())
    return {suffix: path.read_bytes() for suffix, path in paths.items() if path.exists()}


def logits(model: keras.Model) -> npt.NDArray[np.float32]:
    return np.asarray(model.predict(IMAGES, verbose=0))


def save_arrays(path: Path, arrays: Arrays, **metadata: str) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata=metadata)
    return path


def pytorch_arrays(*, classes: int = 8, norm: bool = True) -> Arrays:
    """A `state_dict` of drawn weights."""
    rng, channels = np.random.default_rng(3), {"image": 1}
    arrays: Arrays = {}
    for conv in NANO_B.convs:
        out = channels[conv.name] = conv.channels
        shape = (out, channels[conv.inputs[0]], conv.kernel, conv.kernel)
        arrays[f"{conv.name}.weight"] = rng.normal(0, 0.7 * np.prod(shape[1:]) ** -0.5, shape)
        if norm:
            arrays[f"{conv.name}_norm.weight"] = rng.uniform(0.5, 1.5, out)
            arrays[f"{conv.name}_norm.bias"] = rng.normal(0, 0.1, out)
            arrays[f"{conv.name}_norm.running_mean"] = rng.normal(0, 0.1, out)
            arrays[f"{conv.name}_norm.running_var"] = rng.uniform(0.5, 1.5, out)
        else:
            arrays[f"{conv.name}.bias"] = rng.normal(0, 0.1, out)
    arrays |= {"logits.weight": rng.normal(0, 0.1, (classes, 64)), "logits.bias": rng.normal(0, 0.1, classes)}
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    return arrays | ({"L1_norm.num_batches_tracked": np.array(7)} if norm else {})


def pytorch_logits(arrays: Arrays, eps: float) -> npt.NDArray[np.float64]:
    """What PyTorch calculates, padded as the documentation of converter.sources.files says."""
    values = {"image": IMAGES.transpose(0, 3, 1, 2).astype(np.float64)}
    for conv in NANO_B.convs:
        total = sum(values[name] for name in conv.inputs)
        before, after = (0, 0) if conv.pointwise else (0, 1) if conv.stride == 2 else (1, 1)
        padded = np.pad(total, ((0, 0), (0, 0), (before, after), (before, after)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (conv.kernel, conv.kernel), axis=(2, 3))
        patches = patches[:, :, :: conv.stride, :: conv.stride]
        result = np.einsum("nchwij,ocij->nohw", patches, arrays[f"{conv.name}.weight"], optimize=True)
        if f"{conv.name}.bias" in arrays:
            result += arrays[f"{conv.name}.bias"][:, None, None]
        if f"{conv.name}_norm.weight" in arrays:
            gamma, beta, mean, variance = (
                arrays[f"{conv.name}_norm.{part}"][:, None, None].astype(np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            result = gamma * (result - mean) / np.sqrt(variance + eps) + beta
        values[conv.name] = result if conv.pointwise else np.maximum(result, 0)
    pooled = sum(values[name] for name in NANO_B.head).mean((2, 3))
    return np.asarray(pooled @ arrays["logits.weight"].T + arrays["logits.bias"])


# What is read


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("network", ["nano_b", None])
def test_keras_files_of_a_nano(nano: Nano, tmp_path: Path, suffix: str, network: Any) -> None:
    path = tmp_path / f"mine{suffix}"
    (nano.model.save if suffix == ".keras" else nano.model.save_weights)(path)
    source = read_weights(path, network, 8)
    assert source.network == "nano_b"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [layer.name for layer in source.model.layers] == [layer.name for layer in nano.model.layers]
    np.testing.assert_allclose(logits(source.model), nano.logits, atol=1e-4)


def test_a_checkpoint_loses_what_was_only_for_training(nano: Nano, tmp_path: Path) -> None:
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trained = build(NANO_B, 8)
        trained.set_weights(nano.model.get_weights())
        offset = keras.layers.Rescaling(1.0, offset=[3.0] * 8, dtype="float32", name="adjusted_logits")
        keras.Model(trained.input, offset(trained.output)).save(tmp_path / "checkpoint.keras")
        source = read_weights(tmp_path / "checkpoint.keras", None, 8)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"  # a training under way goes on as before
    finally:
        keras.config.set_dtype_policy("float32")
    assert source.network == "nano_b"
    assert {layer.compute_dtype for layer in source.model.layers} == {"float32"}
    np.testing.assert_allclose(logits(source.model), nano.logits, atol=1e-4)


def test_weights_of_the_reference_form_and_of_earlier_keras(tmp_path: Path) -> None:
    import h5py

    reference = build(NANO_B, 8, batch_norm=False)
    reference.save_weights(tmp_path / "reference.weights.h5")
    with h5py.File(tmp_path / "reference.weights.h5", "a") as file:
        for group in file["layers"].values():  # Keras before 3.6 did not store the layers' names
            group.attrs.pop("name", None)
    source = read_weights(tmp_path / "reference.weights.h5", None, 8)
    np.testing.assert_allclose(logits(source.model), logits(reference), atol=1e-4)


@pytest.mark.parametrize("suffix", [".npz", pytest.param(".safetensors", marks=needs_safetensors)])
@pytest.mark.parametrize(("norm", "eps"), [(True, 1e-5), (True, 1e-2), (False, 1e-5)])
def test_pytorch_weights(tmp_path: Path, suffix: str, norm: bool, eps: float) -> None:  # noqa: FBT001
    arrays = pytorch_arrays(norm=norm)
    stored = arrays | ({"norm_eps": np.array(eps)} if suffix == ".npz" and eps != 1e-5 else {})
    source = read_weights(save_arrays(tmp_path / f"t{suffix}", stored, norm_eps=str(eps)), None, 8)
    assert source.network == "nano_b"
    np.testing.assert_allclose(logits(source.model), pytorch_logits(arrays, eps), rtol=1e-4, atol=1e-4)


def test_a_saved_model(nano: Nano, saved_model: Path) -> None:
    source = read_weights(saved_model, None, 8)
    assert source.network is None
    np.testing.assert_allclose(logits(source.model), nano.logits, atol=1e-4)
    before = source.sha256
    (saved_model / "note.txt").write_text("new")
    assert read_weights(saved_model, None, 8).sha256 != before


@pytest.mark.parametrize("batch", [1, None])
def test_a_saved_function_loses_its_softmax(nano: Nano, tmp_path: Path, batch: int | None) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.model = nano.model
    signature = [tf.TensorSpec((batch, 48, 48, 1), tf.float32)]
    module.read = tf.function(lambda image: tf.nn.softmax(nano.model(image, training=False)), signature)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.read)
    source = read_weights(tmp_path / "saved", None, 8)
    np.testing.assert_allclose(logits(source.model), nano.logits, atol=1e-4)


@pytest.mark.skipif("litert" not in installed_runtimes(), reason="pip install 'edge-fer[litert]'")
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_saved_model_is_converted_and_xnnpack_takes_it_whole(nano: Nano, saved_model: Path, precision: Any) -> None:
    recipe = ConversionRecipe(weights=precision, arithmetic=precision, input_output=precision)
    content = to_tflite(read_weights(saved_model, None, 8).model, recipe, FACES)
    outcome = infer_apart("m.tflite", content, FACES, "litert")
    assert outcome.xnnpack.whole
    assert outcome.xnnpack.total > 30
    # int8 is measured on these very images; 40 layers of rounding cost a few of the output's 256 steps.
    tolerance = 1e-4 if precision == "float32" else 8 * np.ptp(nano.logits) / 255
    np.testing.assert_allclose(outcome.outputs, nano.logits, atol=tolerance)


@pytest.mark.parametrize("end", ["logits", "dense", "softmax", "activation"])
def test_any_other_classifier_of_keras_gives_logits(tmp_path: Path, end: str) -> None:
    import keras

    layers = keras.layers
    ends = {"softmax": [layers.Softmax()], "activation": [layers.Activation("softmax")]}
    head = layers.Dense(5, activation="softmax" if end == "dense" else None, name="head")
    body = [layers.Input((32, 32, 3)), layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), head]
    model = keras.Sequential([*body, *ends.get(end, [])])
    model.save(tmp_path / "other.keras")
    source = read_weights(tmp_path / "other.keras", None, 5)
    assert source.network is None
    image = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
    given, wanted = source.model.predict(image, verbose=0), model.predict(image, verbose=0)
    if end != "logits":
        assert abs(given.sum(axis=1) - 1).min() > 1e-3
        given = np.exp(given) / np.exp(given).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_a_nano_that_is_connected_otherwise_is_no_nano(nano: Nano, tmp_path: Path) -> None:
    import keras

    def other(layer: keras.Layer) -> keras.Layer:
        changed = {"epsilon": 0.5} if isinstance(layer, keras.layers.BatchNormalization) else {}
        return type(layer).from_config(layer.get_config() | changed)

    model = keras.models.clone_model(nano.model, clone_function=other)
    model.set_weights(nano.model.get_weights())
    model.save(tmp_path / "other.keras")
    source = read_weights(tmp_path / "other.keras", None, 8)
    assert source.network is None
    np.testing.assert_allclose(logits(source.model), logits(model), atol=1e-5)
    with pytest.raises(ModelError, match="has the layers of nano_b, but gives other logits"):
        read_weights(tmp_path / "other.keras", "nano_b", 8)


# What is refused


def refused(path: Path, network: Any = None, classes: int = 8, kind: type[EdgeFerError] = ModelError) -> str:
    """The message, which is one line and starts with the file."""
    with pytest.raises(kind) as caught:
        read_weights(path, network, classes)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".weights.h5"])
def test_no_such_file(tmp_path: Path, suffix: str) -> None:
    assert "no such file or folder" in refused(tmp_path / f"none{suffix}", kind=UnavailableError)


@pytest.mark.parametrize("name", ["weights.xyz", "weights.h5", "weights.tflite", "weights"])
def test_unknown_suffixes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    message = refused(tmp_path / name, kind=UsageError)
    for known in (".keras", ".weights.h5", ".onnx", ".safetensors", ".npz", "SavedModel"):
        assert known in message


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.pkl"])
def test_pickles_are_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"L1.weight": 1}))
    assert "safetensors.torch.save_file" in refused(tmp_path / name, kind=UsageError)


@pytest.mark.parametrize(("package", "extra"), [("onnx", "onnx"), ("safetensors", "convert")])
def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself does for a module that must not be imported
    path = tmp_path / f"weights.{package}"
    path.touch()
    assert f"needs: pip install 'edge-fer[{extra}]'" in refused(path, kind=UnavailableError)


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    assert "without saved_model.pb" in refused(tmp_path, kind=UnavailableError)


def test_a_network_that_nothing_confirms(saved_model: Path) -> None:
    assert "leave the network out" in refused(saved_model, "nano_b", kind=UsageError)


def unchanged(_: keras.Model) -> None:
    pass


def with_nan(model: keras.Model) -> None:
    kernel, *others = model.get_layer("L7").get_weights()
    model.get_layer("L7").set_weights([kernel * np.nan, *others])


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize(
    ("edit", "network", "classes", "message"),
    [
        (unchanged, "nano_a", 8, r"layer L1 has the shapes \[\(3, 3, 1, 11\)\], but nano_a needs \[\(3, 3, 1, 14\)\]"),
        (unchanged, None, 7, "the network has 8 outputs, but there are 7 labels"),
        (with_nan, None, 8, "layer L7 holds NaN or infinite weights"),
    ],
)
def test_wrong_weights_in_keras_files(
    nano: Nano,
    tmp_path: Path,
    suffix: str,
    edit: Callable[[keras.Model], None],
    network: Any,
    classes: int,
    message: str,
) -> None:
    model = build(NANO_B, 8)
    model.set_weights(nano.model.get_weights())
    edit(model)
    path = tmp_path / f"wrong{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(path)
    with pytest.raises(ModelError, match=message):
        read_weights(path, network, classes)


def test_h5_files_of_other_kinds(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "other.weights.h5"
    with h5py.File(path, "w") as file:
        file["conv"] = np.zeros(3)
    assert "no group 'layers'" in refused(path)
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((5, 5, 1, 4))
    assert "neither nano_a nor nano_b: layer L1 has the shape (5, 5, 1, 4)" in refused(path)
    with h5py.File(path, "w") as file:
        file["layers/lstm/vars/0"] = np.zeros((4, 4))
    assert "layer lstm has weights" in refused(path)
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 1, 11))
    assert "is missing" in refused(path)


def without(name: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__delitem__(name)


def with_array(name: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__setitem__(name, np.asarray(value))


@pytest.mark.parametrize("suffix", [".npz", pytest.param(".safetensors", marks=needs_safetensors)])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("L5.weight"), "layer L5 of nano_b is missing"),
        (without("logits.bias"), "logits.bias of nano_b is missing"),
        (without("L9_norm.running_var"), "L9_norm.running_var of nano_b is missing"),
        (with_array("L20.weight", np.zeros((3, 3), np.float32)), "layer L20 has weights, but nano_b has no such layer"),
        (with_array("L5.gamma", np.zeros(3, np.float32)), "L5.gamma is unknown; layer L5 has weight, bias"),
        (
            with_array("L5.weight", np.zeros((11, 9, 3, 3), np.float32)),
            "L5.weight has the shape (11, 9, 3, 3), but nano_b needs (11, 8, 3, 3)",
        ),
        (
            with_array("logits.weight", np.zeros((7, 64), np.float32)),
            "the network has 7 outputs, but there are 8 labels",
        ),
        (with_array("L2.weight", np.full((9, 11, 3, 3), np.inf, np.float32)), "layer L2.weight holds NaN or infinite"),
        (with_array("L2.weight", np.zeros((9, 11, 3, 3), np.int32)), "L2.weight holds int32, but weights are floating"),
        (with_array("P1_norm.running_var", np.full(27, -1, np.float32)), "P1_norm.running_var holds -1"),
        (with_array("norm_eps", np.float32(-1)), "norm_eps is -1.0, but must be a number between 0 and 1"),
        (with_array("norm_eps", np.zeros(3, np.float32)), "norm_eps is"),
        (lambda arrays: [arrays.pop(name) for name in list(arrays) if name[0] == "L"], "layer L1 of nano_b is missing"),
        (
            lambda arrays: [arrays.pop(name) for name in list(arrays) if name != "logits.bias"],
            "neither nano_a nor nano_b: no layer L1",
        ),
    ],
)
def test_wrong_arrays(tmp_path: Path, suffix: str, edit: Callable[[Arrays], None], message: str) -> None:
    arrays = pytorch_arrays()
    edit(arrays)
    assert message in refused(save_arrays(tmp_path / f"wrong{suffix}", arrays))


def test_arrays_of_python_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", **{"L1.weight": np.array([{}], dtype=object)})
    assert "not a readable .npz file" in refused(tmp_path / "objects.npz", kind=UnavailableError)


@needs_safetensors
def test_numbers_that_numpy_does_not_know(tmp_path: Path) -> None:
    header = json.dumps({"L1.weight": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "f8.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    assert "save float32" in refused(tmp_path / "f8.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize(
    "suffix", [".keras", ".weights.h5", ".npz", pytest.param(".safetensors", marks=needs_safetensors)]
)
def test_truncated_files(whole_files: dict[str, bytes], tmp_path: Path, suffix: str, share: float) -> None:
    path, content = tmp_path / f"cut{suffix}", whole_files[suffix]
    path.write_bytes(content[: int(share * len(content))])
    assert f"not a readable {suffix} file" in refused(path, kind=UnavailableError)


def test_damaged_weights_inside_a_keras_file(whole_files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(io.BytesIO(whole_files[".keras"])) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, "w") as damaged:
        for name, content in parts.items():
            damaged.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)
    assert "not a readable .keras file" in refused(path, kind=UnavailableError)


@pytest.mark.parametrize(
    "part", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_truncated_saved_models(saved_model: Path, part: str) -> None:
    content = (saved_model / part).read_bytes()
    (saved_model / part).write_bytes(content[: len(content) // 2])
    assert "not a readable SavedModel" in refused(saved_model, kind=UnavailableError)


def test_a_saved_model_without_its_variables(saved_model: Path) -> None:
    shutil.rmtree(saved_model / "variables")
    assert "not a readable SavedModel" in refused(saved_model, kind=UnavailableError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two", "has 2 inputs and 1 outputs"),
        ("bytes", "computes uint8 -> float32, but must take and give float32"),
        ("open", "must take images of a fixed size"),
        ("batch", "takes 4 images at once"),
        ("pixels", "must give one row of logits"),
        ("file", "contains the operator ReadFile"),
        ("nan", "holds NaN or infinite weights"),
        ("none", "no signature serving_default; found: none"),
    ],
)
def test_saved_models_that_are_no_classifiers(tmp_path: Path, name: str, message: str) -> None:
    import tensorflow as tf

    def spec(*shape: int | None, dtype: Any = tf.float32) -> Any:
        return tf.TensorSpec(shape, dtype)

    module = tf.Module()
    module.kernel = tf.Variable(tf.ones((48 * 48, 8)) * (np.nan if name == "nan" else 1.0), name="kernel")

    def dense(image: Any) -> Any:
        return tf.reshape(tf.cast(image, tf.float32), (-1, 48 * 48)) @ module.kernel

    functions: dict[str, tuple[Callable[..., Any], list[Any]]] = {
        "two": (lambda a, b: dense(a + b), [spec(None, 48, 48, 1), spec(None, 48, 48, 1)]),
        "bytes": (dense, [spec(None, 48, 48, 1, dtype=tf.uint8)]),
        "open": (lambda image: dense(tf.image.resize(image, (48, 48))), [spec(None, None, None, 1)]),
        "batch": (dense, [spec(4, 48, 48, 1)]),
        "pixels": (lambda image: image * module.kernel[0, 0], [spec(None, 48, 48, 1)]),
        "file": (
            lambda image: dense(image) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
            [spec(None, 48, 48, 1)],
        ),
        "nan": (dense, [spec(None, 48, 48, 1)]),
    }
    if name != "none":
        function, signature = functions[name]
        module.read = tf.function(function, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=getattr(module, "read", None))
    assert message in refused(tmp_path / "saved")


def test_keras_models_that_are_no_classifiers(tmp_path: Path) -> None:
    import keras

    layers, path = keras.layers, tmp_path / "other.keras"
    image = keras.Input((48, 48, 1))
    pooled = layers.Flatten()(image)
    second = keras.Input((48, 48, 1))
    models = {
        "has 2 inputs and 1 outputs": keras.Model(
            [image, second], layers.Dense(8)(layers.Flatten()(layers.Add()([image, second])))
        ),
        "has 1 inputs and 2 outputs": keras.Model(image, [layers.Dense(8)(pooled), layers.Dense(2)(pooled)]),
        "ends in a sigmoid": keras.Model(image, layers.Dense(8, activation="sigmoid")(pooled)),
        "must give one row of logits (N, 8)": keras.Model(image, layers.Conv2D(8, 3)(image)),
        "the network has 7 outputs, but there are 8 labels": keras.Model(image, layers.Dense(7)(pooled)),
        "from a softmax that cannot be taken off": keras.Model(image, keras.ops.softmax(layers.Dense(8)(pooled))),
    }
    flat = keras.Input((48,))
    models["must take images of a fixed size"] = keras.Model(flat, layers.Dense(8)(flat))
    for message, model in models.items():
        model.save(path)
        assert message in refused(path)


def test_code_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    import keras

    class Mine(keras.layers.Layer):  # type: ignore[misc]
        def call(self, image: Any) -> Any:
            return image

    image = keras.Input((48, 48, 1))
    for layer in (keras.layers.Lambda(lambda x: x * 2), Mine()):
        path = tmp_path / "code.keras"
        keras.Model(image, keras.layers.Dense(8)(keras.layers.Flatten()(layer(image)))).save(path)
        assert "not a readable .keras file" in refused(path, kind=UnavailableError)
