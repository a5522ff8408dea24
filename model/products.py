"""Linear maps of a few rows, at the speed at which their weights can be read: in a layout and precision for it."""

from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["float32", "bfloat16", "int8"]
PACKED_FOR = 8  # rows that the blocks of a packed weight are shaped for; others are fast too
TINY = 1e-24


class Product(Protocol):
    """x (B, n) -> (B, m): a linear map in some precision."""

    def __call__(self, x: Tensor) -> Tensor: ...


def product(weight: Tensor, precision: Precision) -> Product:
    """The linear map of a weight (m, n) in the layout that its device reads fastest; it may share its memory.

    `int8` are 8 bits with a scale for each output, on a CPU, where n is a multiple of 64.
    """
    weight = weight.detach()
    if precision == "int8":
        size = weight.abs().amax(dim=1).clamp_min(TINY) / 127
        return partial(_int8_product, weight=(weight / size[:, None]).round().to(torch.int8), size=size.bfloat16())
    weight = weight.to(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        if precision == "float32":
            return _Layouts(weight)
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return partial(_packed_product, blocks=torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR))
    return partial(functional.linear, weight=weight)


class _Layouts:
    """A float32 weight on a CPU. One row is fastest by the columns of its transpose, several by packed blocks: the
    stock product reads a large weight at half and a third of these speeds (`benchmarks/decode.py`). Each is made when
    it is first asked for; only where both are, the weight is held twice."""

    def __init__(self, weight: Tensor) -> None:
        self._weight: Tensor | None = weight
        self._columns: Tensor | None = None
        self._blocks: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            if self._columns is None:
                self._columns = self._plain().T.contiguous()
            return x @ self._columns
        if self._blocks is None:
            self._blocks = torch.ops.mkldnn._reorder_linear_weight(self._plain().contiguous(), PACKED_FOR)
        return _packed_product(x, self._blocks)

    def _plain(self) -> Tensor:
        """The weight as it was given, from the layout that there is."""
        weight, self._weight = self._weight, None
        if weight is not None:
            return weight
        return self._blocks.to_dense() if self._blocks is not None else self._columns.T  # type: ignore[union-attr]


def _packed_product(x: Tensor, blocks: Tensor) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, blocks, None, "none", [], "")
    return made


def _int8_product(x: Tensor, weight: Tensor, size: Tensor) -> Tensor:
    return torch._weight_int8pack_mm(x.bfloat16(), weight, size).to(x.dtype)
