"""A value and an operator of an ONNX graph, as the operators in converter/sources/onnx_ops.py see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

if TYPE_CHECKING:
    import keras
    import onnx

Array = npt.NDArray[Any]

IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor as Keras has it, and what ONNX means by it."""

    tensor: keras.KerasTensor
    layout: Literal["nchw", "nhwc", "flat"]  # in ONNX; images are always stored (N, H, W, C), flat is (N, features)
    chw: tuple[int, int, int] | None = None  # flat, but ONNX's order of features is another: a flattened image
    positive: bool = False  # never below zero

    @property
    def sides(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        _, height, width, channels = self.tensor.shape
        return height, width, channels


Operand = Value | Array


class Node:
    """One operator with its inputs and attributes."""

    def __init__(self, proto: onnx.NodeProto, inputs: list[Operand | None]) -> None:
        from onnx import helper

        self.inputs = inputs
        self._attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}

    def get(self, name: str, default: Any) -> Any:  # noqa: ANN401  # of any type that ONNX knows
        """An attribute, or its default."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def value(self, index: int = 0) -> Value:
        """An input that is computed from the image."""
        operand = self.inputs[index]
        if not isinstance(operand, Value):
            raise ValueError(f"its input {index} does not depend on the image")  # noqa: TRY004  # user's file
        return operand

    def image(self) -> Value:
        """The first input, which must be an image."""
        value = self.value()
        if value.layout != "nchw":
            raise ValueError("it does not take an image (N, C, H, W)")
        return value

    def constant(self, index: int) -> Array | None:
        """An input that is not; None where it is left out."""
        operand = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(operand, Value):
            raise ValueError(f"its input {index} depends on the image")  # noqa: TRY004
        return operand

    def needed(self, index: int) -> Array:
        """A constant that must be there."""
        if (constant := self.constant(index)) is None:
            raise ValueError(f"its input {index} is missing")
        return constant


def in_order(value: Value) -> Value:
    """The value itself; ValueError where ONNX has its features in another order."""
    if value.chw:
        raise ValueError("it follows a flattened image of more than one pixel")
    return value
