"""Masks to numbers, worked out by hand on small pictures."""

import pytest
import torch

from worldrl.objects import NUMBERS, describe, soften


def numbers(labels: torch.Tensor, objects: int = 1) -> dict[str, float]:
    values = describe(soften(labels[None], objects))[0, 0]
    return dict(zip(NUMBERS, values.tolist(), strict=True))


def test_a_rectangle_is_where_it_is() -> None:
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    labels[2:4, 4:8] = 1  # rows 2, 3 and columns 4 to 7
    found = numbers(labels)
    assert found["x"] == pytest.approx(0.5) and found["y"] == pytest.approx(-0.25)
    assert (found["left"], found["right"]) == pytest.approx((0.125, 0.875))
    assert (found["top"], found["bottom"]) == pytest.approx((-0.375, -0.125))
    assert found["extent"] == pytest.approx((8 / 64) ** 0.5) and found["visible"] == 1.0
    assert found["tilt_cos"] > 0 and found["tilt_sin"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("flip", "sign"), [(False, 1), (True, -1)])
def test_a_diagonal_bar_tilts_its_own_way(flip: bool, sign: int) -> None:
    bar = torch.eye(8, dtype=torch.uint8)
    assert sign * numbers(bar.flip(1) if flip else bar)["tilt_sin"] > 0.1


def test_an_object_that_is_not_seen_is_all_zeros() -> None:
    values = describe(soften(torch.zeros(1, 6, 6, dtype=torch.uint8), 2))
    assert torch.equal(values, torch.zeros(1, 2, 10))


def test_objects_keep_the_order_of_their_labels() -> None:
    labels = torch.tensor([[2, 0], [0, 1]], dtype=torch.uint8)
    first, second = describe(soften(labels[None], 2))[0, :, :2].tolist()
    assert first == pytest.approx([0.5, 0.5]) and second == pytest.approx([-0.5, -0.5])
