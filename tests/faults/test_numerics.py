"""Numbers that are none or far too large, and what holds for any input: codes, windows, indices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fault_worlds import ACTS, Calm, imagined
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from worldrl import checkpoint, symlog
from worldrl.data.segments import SegmentSampler
from worldrl.diffusion.actions import decode_two_hot, two_hot
from worldrl.envs.guards import Guards
from worldrl.errors import NumericsError
from worldrl.world_model.descent import Descent, descend
from worldrl.world_model.engine import Engine

STILL = np.zeros((3, ACTS), np.float32)


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("gives", "reward"),
    [({"success": 1e12}, 1.0), ({"success": -1e12}, 0.0), ({"disagreement": 1e12}, 0.0)],
)
def test_a_head_that_gives_far_too_much_pays_no_more_than_a_success(gives: dict[str, float], reward: float) -> None:
    env = imagined(Calm(**gives))
    env.reset(seed=0)
    assert (env.step(STILL)[1] == reward).all()


@pytest.mark.fault(41)
def test_a_penalty_takes_no_more_than_itself() -> None:
    env = imagined(Calm(disagreement=1e12), guards=Guards(halt=False, penalty=0.3))
    env.reset(seed=0)
    np.testing.assert_allclose(env.step(STILL)[1], -0.3)


@pytest.mark.fault(41)
@given(st.floats(-1e38, 1e38))
def test_a_reward_head_of_the_other_world_model_is_bounded(logit: float) -> None:
    logits = torch.zeros(symlog.BINS)
    logits[-1] = logit
    assert abs(float(symlog.decode(logits))) <= float(symlog.symexp(torch.tensor(symlog.LIMIT))) * 1.001


@pytest.mark.fault(40)
def test_the_environment_and_the_step_are_named_and_the_step_can_be_taken_again() -> None:
    model = Calm()
    env, twin = imagined(model), imagined(Calm())
    env.reset(seed=0), twin.reset(seed=0)
    env.step(STILL), twin.step(STILL)
    whole = model.imagine

    def broken(*args: Any, **kwargs: Any) -> Any:
        out = whole(*args, **kwargs)
        out.obs[1, 0] = torch.nan
        return out

    model.imagine = broken  # type: ignore[method-assign]
    with pytest.raises(NumericsError, match="got nan or inf for env 1 at step 2 of its episode: shorten the horizon"):
        env.step(STILL)
    model.imagine = whole  # type: ignore[method-assign]
    np.testing.assert_array_equal(env.step(STILL)[0], twin.step(STILL)[0])


def broken_loss(net: nn.Module, *, at: str) -> torch.Tensor:
    """Return a loss that is not finite, or one that is but whose gradient is not."""
    x = net(torch.ones(1, 2)).sum()
    return x * torch.nan if at == "loss" else (x - x.detach()).clamp_min(0.0).sqrt()


@pytest.mark.fault(43)
@pytest.mark.parametrize("at", ["loss", "gradient"])
def test_weights_stay_as_they_were_where_loss_or_gradient_is_not_finite(at: str) -> None:
    net = nn.Linear(2, 1)
    before = checkpoint.hash_tensors(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(NumericsError, match=rf"{at} is (nan|inf) at step 7: lower lr or check the data"):
        descend(broken_loss(net, at=at), optimizer, schedule, 7)
    assert checkpoint.hash_tensors(net.state_dict()) == before


@pytest.mark.fault(43)
@pytest.mark.parametrize("at", ["loss", "gradient"])
def test_the_training_of_a_world_ends_at_the_first_number_that_is_none(at: str) -> None:
    net = nn.Linear(2, 1)
    before = checkpoint.hash_tensors(net.state_dict())
    descent = Descent(net, Engine(), lr=1e-3, steps=5, average=0.9)
    with pytest.raises(NumericsError, match=rf"{at} is (nan|inf) at step 0"):
        descent.run(lambda step, part: broken_loss(net, at=at))
    assert checkpoint.hash_tensors(net.state_dict()) == before


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=6), st.integers(2, 40))
def test_any_action_comes_back_from_its_code(acts: list[float], bins: int) -> None:
    told = torch.tensor(acts)
    code = two_hot(told, bins)
    assert code.shape == (len(acts) * bins,) and (code >= 0).all()
    torch.testing.assert_close(code.view(-1, bins).sum(dim=1), torch.ones(len(acts)), atol=1e-5, rtol=0)
    torch.testing.assert_close(decode_two_hot(code, bins), told.clamp(-1, 1), atol=1e-5, rtol=0)


@given(st.floats(-1e6, 1e6, width=32))
def test_any_number_comes_back_from_the_places_it_is_spread_over(x: float) -> None:
    spread = symlog.encode(torch.tensor(x))
    assert float(symlog.decode((spread + 1e-30).log())) == pytest.approx(x, rel=2e-3, abs=2e-3)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 5), st.integers(0, 3))
def test_no_window_crosses_episodes_and_padding_is_what_lies_before_them(
    lengths: list[int], history: int, seed: int
) -> None:
    # Observation k of episode e is 100 e + k, and so is the action that follows it.
    obs = [100.0 * e + np.arange(t + 1, dtype=np.float32)[:, None] for e, t in enumerate(lengths)]
    acts = [100.0 * e + np.arange(t, dtype=np.float32)[:, None] for e, t in enumerate(lengths)]
    success = [np.zeros(t + 1, bool) for t in lengths]
    sampler = SegmentSampler(obs, acts, success, history=history, seed=seed)
    batch = sampler.sample(32)
    episodes, steps = batch.obs[..., 0] // 100, batch.obs[..., 0] % 100
    assert (episodes == episodes[:, :1]).all()
    last = steps[:, -1]
    wanted = last[:, None] + torch.arange(-history, 1)
    torch.testing.assert_close(steps, wanted.clamp_min(0))
    assert torch.equal(batch.padding, wanted[:, :-1] < 0)
    did = torch.where(batch.padding, torch.zeros(()), batch.obs[:, :-1, 0])
    torch.testing.assert_close(batch.acts[..., 0], did)
    every = torch.cat([part.obs[:, -1, 0] for part in sampler.epoch(3)])
    assert every.tolist() == [100.0 * e + k for e, t in enumerate(lengths) for k in range(1, t + 1)]


@pytest.mark.parametrize("lengths", [[1], [3, 1, 5], [2] * 7])
def test_any_index_of_a_data_set_is_the_episode_that_was_written_there(
    lengths: list[int], tmp_path: Path, make_writer: Callable[..., Any]
) -> None:
    from fault_data import small_episode

    from worldrl.data.dataset import Dataset

    episodes = [small_episode(seed, steps) for seed, steps in enumerate(lengths)]
    with make_writer(tmp_path / "set") as writer:
        for one in episodes:
            writer.add(one)
    found = Dataset(tmp_path / "set")

    @given(st.lists(st.integers(-len(lengths), len(lengths) - 1), min_size=1, max_size=6))
    def agrees(indices: list[int]) -> None:
        view = found.subset(indices)
        assert view.lengths.tolist() == [lengths[i] for i in indices]
        for place, index in enumerate(indices):
            for name in ("frames", "acts", "rews", "proprio", "states"):
                np.testing.assert_array_equal(getattr(view[place], name), getattr(episodes[index], name))

    agrees()
