"""The files are built with onnx.helper, as PyTorch's exporters write them; the expected values are ONNX's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converter.inference import infer_apart
from converter.network import NANO_B, build
from converter.quantise import to_tflite
from converter.recipe import ConversionRecipe
from converter.sources.files import read_weights
from edge_fer.align import normalise
from edge_fer.errors import EdgeFerError, ModelError, UnavailableError
from edge_fer.tflite import installed_runtimes

if TYPE_CHECKING:
    import keras

onnx = pytest.importorskip("onnx", reason="reading ONNX is untested here: pip install 'edge-fer[onnx]'")

FACES = np.random.default_rng(5).integers(0, 256, (8, 48, 48), np.uint8)
IMAGES = normalise(FACES)[..., None]

FLOAT = 1  # onnx.TensorProto.FLOAT


class Drawing:
    """A graph in the making; each operator's output is the next one's first input."""

    def __init__(self, shape: tuple[Any, ...] = ("N", 1, 12, 12)) -> None:
        self.shape, self.last = shape, "image"
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.rng = np.random.default_rng(2)

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights[name] = np.asarray(value, None if np.asarray(value).dtype == np.int64 else np.float32)
        return name

    def drawn(self, *shape: int) -> str:
        return self.constant(self.rng.normal(0, 0.4, shape))

    def add(self, op: str, *others: str, first: str | None = None, **attributes: Any) -> str:
        """`others` are the further inputs, by name."""
        output = f"{op.lower()}_{len(self.nodes)}"
        inputs = [self.last if first is None else first, *others]
        self.nodes.append(onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        self.last = output
        return output

    def conv(self, outputs: int, inputs: int, kernel: int = 3, **attributes: Any) -> str:
        return self.add("Conv", self.drawn(outputs, inputs, kernel, kernel), self.drawn(outputs), **attributes)

    def head(self, features: int, classes: int = 8) -> Drawing:
        self.add("Flatten")
        self.add("Gemm", self.drawn(classes, features), self.drawn(classes), transB=1)
        return self

    def proto(self, **settings: Any) -> Any:
        helper = onnx.helper
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("image", settings.pop("dtype", FLOAT), self.shape)],
            [helper.make_tensor_value_info(self.last, FLOAT, ("N", "classes"))],
            [onnx.numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def save(self, path: Path, **settings: Any) -> Path:
        onnx.save(self.proto(**settings), path)
        return path


def drawn_nano(model: keras.Model) -> Drawing:
    """A Nano-B as PyTorch exports it, with the weights of the Keras model."""
    drawing = Drawing(("N", 1, 48, 48))
    values = {"image": "image"}

    def total(names: tuple[str, ...]) -> str:
        drawing.last = values[names[0]]
        for name in names[1:]:
            drawing.add("Add", values[name])
        return drawing.last

    for conv in NANO_B.convs:
        total(conv.inputs)
        pads = [0, 0, 0, 0] if conv.pointwise else [1, 1, 1, 1] if conv.stride == 1 else [0, 0, 1, 1]
        kernel = drawing.constant(model.get_layer(conv.name).get_weights()[0].transpose(3, 2, 0, 1))
        drawing.add("Conv", kernel, pads=pads, strides=[conv.stride] * 2)
        normalisation = [drawing.constant(part) for part in model.get_layer(f"{conv.name}_norm").get_weights()]
        drawing.add("BatchNormalization", *normalisation, epsilon=1e-3)
        values[conv.name] = drawing.last if conv.pointwise else drawing.add("Relu")
    total(NANO_B.head)
    drawing.add("GlobalAveragePool")
    kernel, bias = model.get_layer("logits").get_weights()
    drawing.add("Flatten")
    drawing.add("Gemm", drawing.constant(kernel.T), drawing.constant(bias), transB=1)
    return drawing


@pytest.fixture(scope="module")
def nano() -> keras.Model:
    model = build(NANO_B, 8)
    rng = np.random.default_rng(11)
    for weight in model.weights:
        positive = weight.name in {"gamma", "moving_variance"}
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.1, weight.shape))
    return model


def test_a_nano(nano: keras.Model, tmp_path: Path) -> None:
    source = read_weights(drawn_nano(nano).save(tmp_path / "nano.onnx"), None, 8)
    assert source.network is None
    wanted = nano.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(source.model.predict(IMAGES, verbose=0), wanted, atol=1e-4)


@pytest.mark.skipif("litert" not in installed_runtimes(), reason="pip install 'edge-fer[litert]'")
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_nano_is_converted_and_xnnpack_takes_it_whole(nano: keras.Model, tmp_path: Path, precision: Any) -> None:
    model = read_weights(drawn_nano(nano).save(tmp_path / "nano.onnx"), None, 8).model
    recipe = ConversionRecipe(weights=precision, arithmetic=precision, input_output=precision)
    outcome = infer_apart("m.tflite", to_tflite(model, recipe, FACES), FACES, "litert")
    wanted = nano.predict(IMAGES, verbose=0)
    assert outcome.xnnpack.whole
    assert outcome.xnnpack.total > 30
    # int8 is measured on these very images; 40 layers of rounding cost a few of the output's 256 steps.
    np.testing.assert_allclose(outcome.outputs, wanted, atol=1e-4 if precision == "float32" else np.ptp(wanted) / 32)


def residual(drawing: Drawing) -> None:
    """A stem padded on all sides, a pool, an addition, an average over axes."""
    drawing.conv(4, 1, 7, strides=[2, 2], pads=[3, 3, 3, 3])
    drawing.add("Relu")
    pooled = drawing.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    drawing.conv(4, 4, pads=[1, 1, 1, 1])
    drawing.add("Add", pooled)
    drawing.add("ReduceMean", drawing.constant(np.array([-1, -2])), keepdims=1)
    drawing.head(4)


def mobile(drawing: Drawing) -> None:
    """Depthwise and grouped convolutions, hard activations, squeeze and excitation."""
    drawing.conv(4, 1, auto_pad="SAME_UPPER")
    drawing.add("HardSwish")
    drawing.conv(8, 1, 5, group=4, strides=[2, 2], pads=[2, 2, 2, 2])
    drawing.add("Clip", drawing.constant(0.0), drawing.constant(6.0))
    whole = drawing.conv(4, 4, group=2, pads=[1, 1, 1, 1])
    drawing.add("GlobalAveragePool")
    drawing.conv(4, 4, 1)
    drawing.add("HardSigmoid", alpha=1 / 6)
    drawing.add("Mul", whole)
    drawing.add("GlobalAveragePool")
    drawing.add("Squeeze", drawing.constant(np.array([2, 3])))
    drawing.add("Unsqueeze", drawing.constant(np.array([2, 3])))
    drawing.head(4)


def flattened(drawing: Drawing) -> None:
    """An image of several pixels becomes features: ONNX has the channels first."""
    drawing.add("Sub", drawing.constant([[[0.3]]]))
    left = drawing.conv(3, 1, strides=[2, 2])
    drawing.add("Div", drawing.constant(np.array([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)))
    drawing.add("Concat", left, axis=1)
    drawing.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    drawing.add("LeakyRelu", alpha=0.2)
    drawing.add("Reshape", drawing.constant(np.array([-1, 24])))
    drawing.add("Dropout")
    drawing.add("Gemm", drawing.drawn(24, 10), drawing.drawn(10), alpha=0.5, beta=2.0)
    drawing.add("Tanh")
    drawing.add("MatMul", drawing.drawn(10, 8))
    drawing.add("Add", drawing.drawn(8))


def computed_shapes(drawing: Drawing) -> None:
    """Padding that is computed from constants, and a shape that is computed from the image."""
    image = drawing.last
    halves = [drawing.constant(np.zeros(2, np.int64)), drawing.constant(np.array([0, 0, 0, 0, 1, 1]))]
    pads = drawing.add("Concat", halves[1], first=halves[0], axis=0)
    drawing.add("Pad", pads, first=image)
    drawing.conv(2, 1, strides=[4, 4])
    drawing.add("Elu")
    convolved = drawing.add("Sigmoid")
    drawing.add("Shape")
    drawing.add("Gather", drawing.constant(np.array([0])))
    shape = drawing.add("Concat", drawing.constant(np.array([-1])), axis=0)
    drawing.add("Reshape", shape, first=convolved)
    drawing.add("Gemm", drawing.drawn(8, 18), transB=1)


def channels_last(drawing: Drawing) -> None:
    """As from TensorFlow: transposed for the convolution, and back before the pixels become features."""
    drawing.shape = ("N", 12, 12, 3)
    drawing.add("Transpose", perm=[0, 3, 1, 2])
    drawing.conv(2, 3, 5, strides=[4, 4])
    drawing.add("Transpose", perm=[0, 2, 3, 1])
    drawing.add("Identity")
    drawing.head(8)


@pytest.mark.parametrize("draw", [residual, mobile, flattened, computed_shapes, channels_last])
@pytest.mark.parametrize("end", [None, "Softmax", "LogSoftmax"])
def test_other_classifiers(tmp_path: Path, draw: Callable[[Drawing], None], end: str | None) -> None:
    from onnx.reference import ReferenceEvaluator

    drawing = Drawing()
    draw(drawing)
    logits = drawing.last
    if end:
        drawing.add(end, axis=1)
        drawing.add("Identity")
    source = read_weights(drawing.save(tmp_path / "other.onnx"), None, 8)
    image = np.random.default_rng(1).normal(size=(3, *drawing.shape[1:])).astype(np.float32)
    proto = drawing.proto()
    proto.graph.output[0].name = logits
    (wanted,) = ReferenceEvaluator(proto).run(None, {"image": image})
    stored = image if draw is channels_last else np.moveaxis(image, 1, -1)
    np.testing.assert_allclose(source.model.predict(stored, verbose=0), wanted, rtol=1e-4, atol=1e-4)


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    drawing = Drawing()
    residual(drawing)
    whole = read_weights(drawing.save(tmp_path / "whole.onnx"), None, 8)
    path = tmp_path / "split.onnx"
    onnx.save(drawing.proto(), path, save_as_external_data=True, location="split.data", size_threshold=0)
    split = read_weights(path, None, 8)
    for one, other in zip(whole.model.get_weights(), split.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    (tmp_path / "split.data").write_bytes((tmp_path / "split.data").read_bytes() + b"\0")
    assert read_weights(path, None, 8).sha256 != split.sha256
    (tmp_path / "split.data").write_bytes(b"\0")
    assert "not a readable ONNX file" in refused(path, UnavailableError)
    (tmp_path / "split.data").unlink()
    assert "not a readable ONNX file" in refused(path, UnavailableError)


def refused(path: Path, kind: type[EdgeFerError] = ModelError) -> str:
    """The message, which is one line and starts with the file."""
    with pytest.raises(kind) as caught:
        read_weights(path, None, 8)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, share: float) -> None:
    drawing = Drawing()
    residual(drawing)
    path = drawing.save(tmp_path / "cut.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a readable ONNX file" in refused(path, UnavailableError)


def max_pool_of_negatives(drawing: Drawing) -> None:
    drawing.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    drawing.head(36)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda drawing: drawing.add("Erf"), "operator Erf (erf_0) cannot be converted; known are Add, AveragePool"),
        (lambda drawing: drawing.add("Gelu", domain="mine"), "operator Gelu (gelu_0) cannot be converted"),
        (lambda drawing: drawing.conv(2, 1, auto_pad="SAME_LOWER"), "operator Conv (conv_0) cannot be converted: "),
        (max_pool_of_negatives, "operator MaxPool (maxpool_0) cannot be converted: padding [1, 1, 1, 1] would put"),
        (lambda drawing: drawing.add("Flatten", axis=2), "operator Flatten (flatten_0) cannot be converted: axis 2"),
        (lambda drawing: drawing.head(144, classes=7), "the network has 7 outputs, but there are 8 labels"),
        (lambda drawing: drawing.conv(8, 1), "gives an image of (10, 10, 8); it must give one row"),
        (lambda drawing: drawing.head(144).add("Sigmoid"), "ends in the operator Sigmoid"),
        (lambda drawing: drawing.add("Mul", drawing.constant(np.nan)), "layer constant_0 holds NaN or infinite"),
        (lambda drawing: drawing.add("Identity", first=drawing.constant(1.0)), "no logits that depend on the image"),
        (lambda drawing: drawing.add("Shape"), "operator Shape (shape_0) cannot be converted"),
        (lambda drawing: setattr(drawing, "shape", ("N", 1, "H", "W")) or drawing.head(9), "of a fixed size"),
        (lambda drawing: setattr(drawing, "shape", ("N", 5, 12, 12)) or drawing.head(720), "(N, H, W, 1 or 3)"),
    ],
)
def test_files_that_hold_no_classifier(tmp_path: Path, draw: Callable[[Drawing], Any], message: str) -> None:
    drawing = Drawing()
    draw(drawing)
    if drawing.nodes[-1].domain == "mine":
        proto = drawing.proto()
        proto.opset_import.append(onnx.helper.make_opsetid("mine", 1))
        onnx.save(proto, tmp_path / "no.onnx")
    else:
        drawing.save(tmp_path / "no.onnx")
    assert message in refused(tmp_path / "no.onnx")


def test_images_of_bytes(tmp_path: Path) -> None:
    path = Drawing().head(144).save(tmp_path / "bytes.onnx", dtype=2)
    assert "takes UINT8, but must take float32" in refused(path)


def test_two_images(tmp_path: Path) -> None:
    drawing = Drawing()
    drawing.add("Add", "second")
    proto = drawing.head(144).proto()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("second", FLOAT, drawing.shape))
    onnx.save(proto, tmp_path / "two.onnx")
    assert "takes 2 inputs; it must take one image" in refused(tmp_path / "two.onnx")


def test_a_wrong_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from converter.sources import onnx_ops

    monkeypatch.setitem(onnx_ops.OPERATORS, "Tanh", onnx_ops.OPERATORS["Sigmoid"])
    drawing = Drawing().head(144)
    drawing.add("Tanh")
    assert "cannot be converted exactly" in refused(drawing.save(tmp_path / "wrong.onnx"))
