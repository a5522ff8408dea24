"""A linear map is the same in any layout, whichever is made first."""

import pytest
import torch
from torch.nn import functional

from neuroleon.model.products import Precision, product


@pytest.mark.parametrize("order", [(1, 3, 1), (3, 1, 3), (8, 1), (1, 16)])
@pytest.mark.parametrize("whole", [True, False])
def test_one_row_and_several_say_the_same_in_either_order(order: tuple[int, ...], whole: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(200, 64)[slice(None) if whole else slice(17, 120)]
    made = product(weight, "float32")
    for rows in order:
        x = torch.randn(rows, 64)
        torch.testing.assert_close(made(x), functional.linear(x, weight), atol=1e-4, rtol=1e-4)
        strided = torch.randn(rows, 3, 64)[:, -1]
        torch.testing.assert_close(made(strided), functional.linear(strided, weight), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("precision", "close"), [("bfloat16", 0.02), ("int8", 0.02)])
def test_coarser_weights_are_near(precision: Precision, close: float) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(128, 64), torch.randn(3, 64)
    x = x.bfloat16() if precision == "bfloat16" else x
    error = product(weight, precision)(x).float() - functional.linear(x.float(), weight)
    assert 0 < error.norm() < close * functional.linear(x.float(), weight).norm()
