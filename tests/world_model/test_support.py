"""The support of the data: zero on it, growing away from it."""

import pytest
import torch

from worldrl.world_model.support import Support


def test_what_was_recorded_is_at_no_distance_and_what_was_not_is_as_far_as_it_is() -> None:
    support = Support((2, 2), size=4)
    support.fit(torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[4.0, 4.0], [4.0, 4.0]]]))
    asked = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[4.0, 4.0], [4.0, 2.0]]])
    assert support(asked).tolist() == pytest.approx([0.0, 1.0, 1.0], abs=1e-6)


def test_frames_are_compared_as_small_pictures() -> None:
    support = Support((3, 32, 32), size=2)
    support.fit(torch.zeros(5, 3, 32, 32))
    assert support(torch.full((1, 3, 32, 32), 0.5)).tolist() == pytest.approx([0.5])


def test_it_is_saved_with_the_weights() -> None:
    support, other = Support((1, 2), size=8), Support((1, 2), size=8)
    support.fit(torch.randn(20, 1, 2), seed=1)
    other.load_state_dict(support.state_dict())
    asked = torch.randn(4, 1, 2)
    torch.testing.assert_close(other(asked), support(asked))
