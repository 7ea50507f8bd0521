"""The object-centric world model behind the imagined environment."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.storm.imagination import StormImagination
from worldrl.storm.model import StormWorldModel
from worldrl.storm.steps import Steps
from worldrl.types import Starts

Make = Callable[..., StormWorldModel]


def world(model: StormWorldModel, steps: Steps) -> tuple[StormImagination, Starts]:
    imagination = StormImagination(model, history=3)
    return imagination, Starts(imagination.join(steps)[:, :3], steps.acts[:, :2])


@pytest.mark.parametrize("visual", [True, False])
def test_episodes_run_to_their_horizon_and_repeat_under_their_seed(
    make_model: Make, steps: Steps, visual: bool
) -> None:
    if not visual:
        steps = Steps(steps.tokens, None, steps.acts, steps.rews, steps.ends, steps.episodes)
    imagination, starts = world(make_model(visual=visual), steps)
    rollouts = []
    for _ in range(2):
        env = ImaginedVectorEnv(imagination, starts, num_envs=4, horizon=3)
        seen = [env.reset(seed=7)[0]]
        for _ in range(3):
            obs, _, end, trunc, _ = env.step(np.full((4, 2), 0.5, np.float32))
            seen.append(obs)
        assert (end | trunc).all()
        rollouts.append(np.stack(seen))
    assert np.array_equal(*rollouts)
    assert rollouts[0].shape[2:] == imagination.obs_shape


def test_a_step_depends_neither_on_its_neighbours_nor_on_their_number(make_model: Make, steps: Steps) -> None:
    imagination, starts = world(make_model(), steps)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(len(starts), *imagination.obs_shape, generator=rng)
    acts = torch.cat([starts.acts, starts.acts[:, -1:]], dim=1)
    whole = imagination.imagine(starts.obs, acts, noise=noise, choice=torch.zeros(6)).obs
    single = imagination.imagine(starts.obs[2:3], acts[2:3], noise=noise[2:3], choice=torch.zeros(1)).obs
    assert torch.allclose(whole[2:3], single, atol=1e-4)
    other = imagination.imagine(starts.obs, acts, noise=noise + 3.0, choice=torch.zeros(6)).obs
    assert not torch.allclose(whole, other)


def test_an_end_that_the_model_foresees_is_a_success(make_model: Make, steps: Steps) -> None:
    model = make_model()
    torch.nn.init.constant_(model.termination.head[-1].bias, 9.0)
    imagination, starts = world(model, steps)
    env = ImaginedEnv(imagination, starts, horizon=5)
    env.reset(seed=0)
    _, rew, end, _, info = env.step(np.zeros(2, np.float32))
    assert (rew, end, info["success"]) == (1.0, True, True)
