"""EmotionNet Nano as data, and its Keras form.

Source: Lee, Wang, Wong, "EmotionNet Nano: An Efficient Deep Convolutional Neural Network Design for Real-Time Facial
Expression Recognition", Frontiers in AI 3, 2021, doi 10.3389/frai.2020.609673. The layer table was reconstructed from
public re-implementations of the paper's architecture figure; the widths of Nano-A are our own scaling of Nano-B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

INPUT_PX = 48
"""Height and width of the grey image that the network sees."""

NANO_A_WIDTH_FACTOR = 1.28
"""Nano-A's widths are not public; this factor meets its published size (231,992 parameters against 232 K)."""


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution; several inputs are added element by element before it."""

    name: str
    inputs: tuple[str, ...]
    channels: int
    stride: int = 1
    kernel: int = 3

    @property
    def pointwise(self) -> bool:
        """Whether this is one of the 1x1 long-range connections, which have no activation."""
        return self.kernel == 1


@dataclass(frozen=True, slots=True)
class Network:
    """A network as its list of convolutions in order of computation, and what the head pools."""

    name: str
    convs: tuple[Conv, ...]
    head: tuple[str, ...]


def _conv(name: str, inputs: str, channels: int, stride: int = 1) -> Conv:
    return Conv(name, tuple(inputs.split("+")), channels, stride, kernel=1 if name.startswith("P") else 3)


NANO_B = Network(
    "nano_b",
    (
        _conv("L1", "image", 11),
        _conv("L2", "L1", 9),
        _conv("L3", "L2", 11),
        _conv("L4", "L1+L3", 8),
        _conv("L5", "L4", 11),
        _conv("L6", "L1+L3+L5", 7),
        _conv("L7", "L6", 11),
        _conv("L8", "L1+L5+L7", 27, stride=2),
        _conv("P1", "L1+L3+L5", 27, stride=2),
        _conv("L9", "L8", 27),
        _conv("L10", "L9+P1", 19),
        _conv("L11", "L10", 27),
        _conv("L12", "L9+L11", 26),
        _conv("L13", "L12", 27),
        _conv("L14", "L9+L11+L13+P1", 36, stride=2),
        _conv("P2", "L8+L11+L13+P1", 64, stride=2),
        _conv("L15", "L14", 64),
        _conv("L16", "L15+P2", 39),
        _conv("L17", "L16", 64),
        _conv("L18", "L15+L17+P2", 24),
        _conv("L19", "L18", 64),
    ),
    head=("L15", "L17", "L19", "P2"),
)

NANO_A = Network(
    "nano_a",
    tuple(replace(conv, channels=round(conv.channels * NANO_A_WIDTH_FACTOR)) for conv in NANO_B.convs),
    NANO_B.head,
)

NETWORKS = {network.name: network for network in (NANO_A, NANO_B)}


def count_parameters(network: Network, classes: int) -> int:
    """Parameters of the reference form: every convolution and the dense head with biases, no batch norm."""
    channels = {"image": 1}
    total = 0
    for conv in network.convs:
        total += conv.kernel**2 * channels[conv.inputs[0]] * conv.channels + conv.channels
        channels[conv.name] = conv.channels
    return total + channels[network.head[0]] * classes + classes


def count_macs(network: Network, classes: int) -> int:
    """Multiply-accumulates of one 48x48 image; additions, pooling and softmax are not counted."""
    channels, size_px = {"image": 1}, {"image": INPUT_PX}
    total = 0
    for conv in network.convs:
        size = size_px[conv.inputs[0]] // conv.stride
        total += size**2 * conv.kernel**2 * channels[conv.inputs[0]] * conv.channels
        channels[conv.name], size_px[conv.name] = conv.channels, size
    return total + channels[network.head[0]] * classes


def build(network: Network, classes: int, *, batch_norm: bool = True, softmax: bool = False) -> keras.Model:
    """The network as a Keras model: float32 (N, 48, 48, 1) in -1..1 -> (N, classes) logits, or probabilities.

    With `batch_norm` each convolution is followed by a normalisation, which the TFLite converter folds away; without,
    it has a bias instead: the reference form that `count_parameters` counts.
    """
    import keras

    layers = keras.layers
    tensors = {"image": keras.Input((INPUT_PX, INPUT_PX, 1), name="image")}

    def total(names: tuple[str, ...]) -> keras.KerasTensor:
        return tensors[names[0]] if len(names) == 1 else layers.Add()([tensors[name] for name in names])

    for conv in network.convs:
        x = layers.Conv2D(
            conv.channels, conv.kernel, conv.stride, padding="same", use_bias=not batch_norm, name=conv.name
        )(total(conv.inputs))
        if batch_norm:
            x = layers.BatchNormalization(name=f"{conv.name}_norm")(x)
        tensors[conv.name] = x if conv.pointwise else layers.ReLU(name=f"{conv.name}_relu")(x)
    pooled = layers.GlobalAveragePooling2D(name="pool")(total(network.head))
    out = layers.Dense(classes, name="logits", dtype="float32")(pooled)
    if softmax:
        out = layers.Softmax(dtype="float32", name="probabilities")(out)
    return keras.Model(tensors["image"], out, name=network.name)
