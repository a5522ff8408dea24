"""Linear maps of a few rows, at the speed at which their weights can be read: in a layout and precision for it."""

from functools import cached_property, partial
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
    """The linear map of a weight (m, n), a copy of it in the layout that its device reads fastest.

    `int8` are 8 bits with a scale for each output, on a CPU, where n is a multiple of 64.
    """
    weight = weight.detach()
    if precision == "int8":
        size = weight.abs().amax(dim=1).clamp_min(TINY) / 127
        return partial(_int8_product, weight=(weight / size[:, None]).round().to(torch.int8), size=size.bfloat16())
    if precision == "bfloat16":
        weight = weight.bfloat16()
        if weight.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return partial(_packed_product, blocks=torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR))
    elif weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _Layouts(weight)
    return partial(functional.linear, weight=weight)


class _Layouts:
    """A float32 weight on a CPU. One row is fastest by the columns of its transpose, several by packed blocks: the
    stock product reads a large weight at half and a third of these speeds (`benchmarks/decode.py`)."""

    def __init__(self, weight: Tensor) -> None:
        self._columns = weight.float().T.contiguous()

    @cached_property
    def _blocks(self) -> Tensor:
        blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(self._columns.T.contiguous(), PACKED_FOR)
        return blocks

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self._columns if len(x) == 1 else _packed_product(x, self._blocks)


def _packed_product(x: Tensor, blocks: Tensor) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, blocks, None, "none", [], "")
    return made


def _int8_product(x: Tensor, weight: Tensor, size: Tensor) -> Tensor:
    return torch._weight_int8pack_mm(x.bfloat16(), weight, size).to(x.dtype)
