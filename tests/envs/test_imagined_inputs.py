"""An imagined environment refuses what it cannot use, says what and where, and stays as it was."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from torch import Tensor

from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.errors import ConfigError, DataError, DeviceError, NumericsError
from worldrl.types import Array, Imagined, Starts

D, A, T = 3, 2, 4


class Drift:
    """A world that adds its noise; ``broken`` names a row and a part of its answer that is not finite."""

    history, obs_shape, act_dim, success_threshold = T, (D,), A, 0.5
    broken: tuple[int, str] | None = None

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        out = Imagined(obs[:, -1] + noise, torch.zeros_like(choice), torch.zeros_like(choice))
        if self.broken is not None:
            getattr(out, self.broken[1])[self.broken[0]] = float("nan")
        return out


def make(num_envs: int = 3, model: Drift | None = None, **options: Any) -> ImaginedVectorEnv:
    starts = Starts(torch.randn(5, T, D, generator=torch.Generator().manual_seed(0)), torch.zeros(5, T - 1, A))
    return ImaginedVectorEnv(model or Drift(), starts, num_envs=num_envs, **{"horizon": 100, **options})


def still(n: int = 3) -> Array:
    return np.zeros((n, A), np.float32)


@pytest.mark.fault(37, 38)
@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        ([[0, 0], [0, np.nan], [0, 0]], NumericsError, r"actions must be finite, got \[0.0, nan\] for env 1"),
        ([[0, 0], [0, 0], [0, np.inf]], NumericsError, "for env 2"),
        ([[0, 0], [0, 0], [1.5, 0]], DataError, r"actions must be in \[-1, 1\], got \[1.5, 0.0\] for env 2: clip them"),
        ([[0, 0]], DataError, r"actions must be \(3, 2\), got \(1, 2\)"),
    ],
)
def test_refuses_wrong_actions_and_stays_as_it_was(act: Any, error: type[Exception], text: str) -> None:
    env, twin = make(), make()
    env.reset(seed=0), twin.reset(seed=0)
    with pytest.raises(error, match=text):
        env.step(np.array(act, np.float32))
    np.testing.assert_array_equal(env.step(still())[0], twin.step(still())[0])


def test_tolerates_rounding_at_the_limits_and_read_only_actions() -> None:
    env = make()
    env.reset(seed=0)
    act = np.full((3, A), 1.0 + 5e-7)
    act.setflags(write=False)
    env.step(act)


@pytest.mark.fault(40)
@pytest.mark.parametrize("part", ["obs", "success", "disagreement"])
def test_a_model_that_is_not_finite_is_named_and_changes_nothing(part: str) -> None:
    model = Drift()
    env, twin = make(model=model), make()
    env.reset(seed=0), twin.reset(seed=0)
    env.step(still()), twin.step(still())
    model.broken = (2, part)
    with pytest.raises(NumericsError, match="env 2 at step 2 of its episode"):
        env.step(still())
    model.broken = None
    assert env.imagined_steps == 3
    for got, wanted in zip(env.step(still())[:4], twin.step(still())[:4], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_seeded_reset_forgets_a_failed_step() -> None:
    model = Drift()
    env, twin = make(model=model), make()
    env.reset(seed=0)
    model.broken = (0, "obs")
    with pytest.raises(NumericsError, match="env 0 at step 1"):
        env.step(still())
    model.broken = None
    env.reset(seed=5), twin.reset(seed=5)
    np.testing.assert_array_equal(env.step(still())[0], twin.step(still())[0])


def test_a_model_with_another_shape_is_refused() -> None:
    class Wide(Drift):
        def imagine(self, *args: Any, **kwargs: Any) -> Imagined:
            out = super().imagine(*args, **kwargs)
            return Imagined(out.obs, out.success[:, None], out.disagreement)

    env = make(model=Wide())
    env.reset()
    with pytest.raises(ValueError, match=r"imagined success must be \(3,\), got \(3, 1\)"):
        env.step(still())


@pytest.mark.fault(39)
def test_needs_a_reset_before_and_refuses_a_step_after_the_end() -> None:
    env = make()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(still())
    with pytest.raises(ResetNeeded, match="first reset must be of every environment"):
        env.reset(options={"reset_mask": np.array([True, False, False])})
    env.close()
    for call in (env.reset, lambda: env.step(still()), env.render):
        with pytest.raises(ClosedEnvironmentError, match="closed"):
            call()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, got 0"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1, got 0"),
        ({"render_mode": "rgb_array"}, ConfigError, "needs decode, which draws an observation: pass decode="),
        ({"render_mode": "human"}, ConfigError, "render_mode must be 'rgb_array' or None, got 'human'"),
        ({"autoreset_mode": "never"}, ValueError, "autoreset_mode must be one of NEXT_STEP, SAME_STEP, DISABLED"),
        ({"observation_space": Box(-1, 1, (7,))}, ValueError, r"must be a Box of shape \(3,\)"),
    ],
)
def test_refuses_what_it_cannot_be_made_of(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(**options)


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("obs", "acts", "error", "text"),
    [
        ((2, T + 1, D), (2, T - 1, A), DataError, r"starts.obs must be \(2, 4, 3\), as the model's history, got"),
        ((2, T, D), (2, T, A), DataError, r"starts.acts must be \(2, 3, 2\)"),
        ((0, T, D), (0, T - 1, A), DataError, "starts must hold at least one history, got none"),
    ],
)
def test_refuses_starts_that_the_model_cannot_go_on_from(
    obs: Any, acts: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ImaginedVectorEnv(Drift(), Starts(torch.zeros(obs), torch.zeros(acts)), num_envs=1, horizon=1)
    with pytest.raises(NumericsError, match=r"starts\.obs must be finite"):
        ImaginedVectorEnv(
            Drift(), Starts(torch.full((1, T, D), torch.nan), torch.zeros(1, T - 1, A)), num_envs=1, horizon=1
        )


@pytest.mark.parametrize(
    ("seed", "options", "error", "text"),
    [
        (-1, {}, ValueError, "seed must be at least 0, got -1"),
        ([1, 2], {}, ValueError, "seed must be one seed or 3 of them, got 2"),
        (0, {"starts": 1}, ValueError, "options must be among reset_mask, start, got 'starts'"),
        (0, {"start": [0, 1, 5]}, ValueError, r"must be \(3,\) with values in \[0, 5\), got \[0, 1, 5\]"),
        (0, {"start": [0.5, 1, 2]}, TypeError, "must be integers, got float64"),
        (0, {"reset_mask": [True] * 3}, TypeError, "must be a numpy array of bool"),
        (0, {"reset_mask": np.zeros(3, bool)}, ValueError, "at least one True"),
    ],
)
def test_refuses_wrong_seeds_and_options(seed: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make().reset(seed=seed, options=options)


@pytest.mark.fault(53)
def test_refuses_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="got 'cuda' without a GPU: use 'cpu'"):
        make(device="cuda")
