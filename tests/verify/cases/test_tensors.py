"""The tensors that Triton's interpreter sees know when something is written outside of them."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from stepforge.verify.cases.tensors import GUARD, Tensor


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 17])
@pytest.mark.parametrize("offset", [-GUARD, -1, 0, GUARD - 1])
def test_a_write_outside_is_seen(dtype: str, n: int, offset: int) -> None:
    tensor = Tensor(np.ones(n, dtype))
    assert tensor.intact
    element = offset if offset < 0 else n + offset
    address = tensor.data_ptr() + element * tensor.element_size()
    ctypes.c_char.from_address(address).value = b"\x00"
    assert not tensor.intact


def test_a_write_inside_is_not_an_accident() -> None:
    tensor = Tensor(np.ones(5, "float32"))
    tensor.array[:] = np.nan
    assert tensor.intact


def test_poison_is_a_nan_that_no_computation_produces() -> None:
    for dtype in ("float32", "float64"):
        tensor = Tensor(np.zeros(3, dtype)).new_empty((3,))
        assert np.isnan(tensor.array).sum() in (0, 3)
        assert (tensor.array.view(np.uint8) == 0xFA).all()


def test_tensors_are_aligned_like_torch_s() -> None:
    assert all(Tensor(np.zeros(n)).data_ptr() % 16 == 0 for n in range(1, 20))


def test_new_tensors_have_the_asked_shape_value_and_type() -> None:
    tensor = Tensor(np.zeros((2, 3), "float16"))
    assert tensor.new_full((4,), 2.5).array.tolist() == [2.5] * 4
    assert tensor.float().array.dtype == np.float32
    assert tensor.shape == (2, 3)
    assert tensor.stride() == (3, 1)


def test_a_copy_in_another_type() -> None:
    tensor = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    copy = tensor.detach().to(tensor, copy=True)
    wide = tensor.to(Tensor(np.zeros(1)))
    copy.array[:] = 7
    assert tensor.to(tensor) is tensor
    assert (copy.shape, wide.shape) == (tensor.shape, tensor.shape)
    assert tensor.array.reshape(-1).tolist() == wide.array.reshape(-1).tolist() == [*range(6)]
    assert wide.array.dtype == np.float64
