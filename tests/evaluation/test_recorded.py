"""Recorded episodes become segments and replays that begin as training windows do."""

import numpy as np
import torch
from torch import Tensor

from worldrl.evaluation.recorded import acted_out, replay_of, segments
from worldrl.types import Imagined
from worldrl.world_model.tokens import Tokens


def tokens(*lengths: int) -> Tokens:
    """Episode ``i`` counts up from ``100 i``; its actions from there too, by a tenth."""
    obs = [(100.0 * i + np.arange(t + 1, dtype=np.float32))[:, None] for i, t in enumerate(lengths)]
    acts = [(100.0 * i + np.arange(t, dtype=np.float32))[:, None] / 1000 for i, t in enumerate(lengths)]
    success = [np.zeros(t + 1, np.bool_) for t in lengths]
    return Tokens(obs, acts, success, ["policy"] * len(lengths))


class Sum:
    """A world of one number that adds up the last two actions, in thousandths."""

    history, obs_shape, act_dim, success_threshold = 2, (1,), 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        return Imagined(obs[:, -1] + 1000 * acts.sum(dim=1), torch.zeros(len(obs)), torch.zeros(len(obs)))


def test_segments_follow_one_another_and_what_is_too_short_is_left_out() -> None:
    cut = segments(tokens(5, 1, 2), history=3, horizon=2)
    assert cut is not None
    obs, acts = cut
    # Two from the first episode, whose last step is left over, none from the second, one from the third.
    assert obs[..., 0].tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [200, 200, 200, 201, 202]]
    np.testing.assert_allclose(1000 * acts[..., 0], [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 200, 201]], atol=1e-4)


def test_there_may_be_no_segment() -> None:
    assert segments(tokens(4, 3), history=2, horizon=5) is None


def test_a_replay_starts_at_the_first_observation_and_knows_its_length() -> None:
    replay = replay_of(tokens(3, 1), history=2)
    assert replay.starts.obs[..., 0].tolist() == [[0, 0], [100, 100]]
    np.testing.assert_allclose(1000 * replay.acts[..., 0], [[0, 1, 2], [100, 0, 0]], atol=1e-4)
    assert replay.steps is not None and replay.steps.tolist() == [3, 1]


def test_what_is_acted_out_is_as_long_as_what_was_recorded() -> None:
    seen = acted_out(Sum(), replay_of(tokens(3, 1), history=2))
    np.testing.assert_allclose(seen[0][:, 0], [0, 1, 4], atol=1e-4)  # 0 + (0 + 0), + (0 + 1), + (1 + 2)
    np.testing.assert_allclose(seen[1][:, 0], [200], atol=1e-4)
