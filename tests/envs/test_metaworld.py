"""Meta-World tasks keep the contract of this package's environments."""

import json
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

pytest.importorskip("metaworld")

from worldrl.agents.metaworld_experts import metaworld_script
from worldrl.envs.metaworld import MetaWorldEnv
from worldrl.errors import ConfigError, NumericsError


@pytest.fixture(scope="module")
def soccer() -> MetaWorldEnv:
    return MetaWorldEnv("soccer", "rgb_array")


@pytest.fixture(scope="module")
def other() -> MetaWorldEnv:
    return MetaWorldEnv("soccer")


@pytest.fixture(scope="module")
def locked_door() -> MetaWorldEnv:
    return MetaWorldEnv("door-lock")


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(np.array_equal(left[key], right[key]) for key in left)


def test_the_environment_passes_the_checkers(soccer: MetaWorldEnv) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not made by gymnasium.make here
        warnings.filterwarnings("ignore", message=".*render mode.*")
        check_env(soccer, skip_close_check=True)
        sb3_check_env(soccer)


def test_a_seed_determines_the_episode_in_every_instance(soccer: MetaWorldEnv, other: MetaWorldEnv) -> None:
    first, _ = soccer.reset(seed=3)
    state = soccer.state()
    assert not same(first, soccer.reset(seed=4)[0])
    soccer.step(np.ones(4, np.float32))
    assert same(first, soccer.reset(seed=3)[0])
    assert same(first, other.reset(seed=3)[0])
    assert np.array_equal(state, soccer.state())
    assert np.array_equal(state, other.state())
    assert soccer.params() == other.params()


@pytest.mark.parametrize("name", ["soccer", "locked_door"])
def test_the_expert_solves_it_and_any_moment_replays_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    env: MetaWorldEnv = request.getfixturevalue(name)
    env.reset(seed=3)
    fields, params = env.fields(), json.loads(json.dumps(env.params()))
    acts, states, steps = [], [env.state()], []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        acts.append(metaworld_script(env))
        steps.append(env.step(acts[-1]))
        states.append(env.state())
    assert steps[-1][2] and steps[-1][4]["success"] and steps[-1][1] == 1.0
    assert all(0.0 <= rew < 1.0 for _, rew, *_ in steps[:-1])

    start = len(acts) // 2
    env.reset(seed=9)  # leaves other targets behind
    assert same(env.restore(states[start], fields, params), steps[start - 1][0])
    for k in range(start, len(acts)):
        obs, *rest = env.step(acts[k])
        assert same(obs, steps[k][0])
        assert rest == list(steps[k][1:])
        assert np.array_equal(env.state(), states[k + 1])


def test_an_untouched_instance_can_be_put_into_a_recorded_moment(soccer: MetaWorldEnv) -> None:
    soccer.reset(seed=5)
    obs, *rest = soccer.step(np.full(4, 0.5, np.float32))
    fresh = MetaWorldEnv("soccer")
    assert same(fresh.restore(soccer.state(), soccer.fields(), soccer.params()), obs)
    act = np.array([0.2, 1.0, -1.0, 0.0], np.float32)
    obs, *rest = soccer.step(act)
    replayed, *replayed_rest = fresh.step(act)
    assert same(replayed, obs)
    assert replayed_rest == rest


def test_the_view_stands_upright_and_shows_the_objects(soccer: MetaWorldEnv) -> None:
    soccer.reset(seed=0)
    labels = soccer.labels()
    assert soccer.objects == ("fingers", "soccer_ball", "goal_whole", "target")
    rows = [np.nonzero(labels == label)[0] for label in (2, 3)]
    assert len(rows[0]) >= 8 and len(rows[1]) >= 60
    assert rows[0].mean() > rows[1].mean()  # the ball lies nearer, so lower in a picture that stands upright
    frame = soccer.render()
    assert frame is not None
    assert frame[labels == 2].std() > 10  # black and white patches


def test_the_site_that_marks_the_target_is_seen_and_no_other(soccer: MetaWorldEnv) -> None:
    visible = [soccer.model.site(i).name for i in np.nonzero(soccer.model.site_rgba[:, 3])[0]]
    assert visible == ["goal"]
    soccer.reset(seed=1)
    marked = soccer.reset(seed=1)[0]["image"]
    soccer.model.site_rgba[soccer.model.site("goal").id, 3] = 0.0
    bare = soccer.reset(seed=1)[0]["image"]
    soccer.model.site_rgba[soccer.model.site("goal").id, 3] = 1.0
    assert not np.array_equal(marked, bare)


def test_a_moving_part_is_an_object_of_its_own_and_seen_apart_from_what_carries_it() -> None:
    env = MetaWorldEnv("door-lock", size=98)
    env.reset(seed=0)
    assert env.objects == ("fingers", "door", "lock_link")
    area = [int((env.labels() == label).sum()) for label in (2, 3)]
    assert area[0] > 10 * area[1] > 300


def test_without_drawing_physics_goes_on_unseen(soccer: MetaWorldEnv) -> None:
    act = np.array([0.5, 0.2, -0.4, 0.0], np.float32)
    soccer.reset(seed=4)
    seen = soccer.step(act)
    soccer.drawing = False
    soccer.reset(seed=4)
    blind = soccer.step(act)
    soccer.drawing = True
    assert not blind[0]["image"].any() and seen[0]["image"].any()
    np.testing.assert_array_equal(blind[0]["proprio"], seen[0]["proprio"])
    assert blind[1:] == seen[1:]


def test_proprioception_is_the_hand_and_says_nothing_of_the_objects(soccer: MetaWorldEnv) -> None:
    obs, _ = soccer.reset(seed=0)
    hand = soccer.data.body("hand").xpos
    assert np.allclose(obs["proprio"][:3], hand)
    assert obs["proprio"][3] > 0.9
    for _ in range(10):
        obs, *_ = soccer.step(np.array([0.0, 0.0, 0.0, 1.0], np.float32))
    assert obs["proprio"][3] < 0.5


def test_proprioception_tells_velocity_and_a_set_point_that_runs_ahead(soccer: MetaWorldEnv) -> None:
    soccer.reset(seed=0)
    before = soccer.step(np.array([1.0, 0.0, 0.0, 0.0], np.float32))[0]["proprio"]
    after = soccer.step(np.array([1.0, 0.0, 0.0, 0.0], np.float32))[0]["proprio"]
    seconds = 3 * 5 * soccer.model.opt.timestep
    assert (after[0] - before[0]) / seconds == pytest.approx((after[4] + before[4]) / 2, rel=0.3)
    assert after[7] > 0.005 > abs(after[8])
    np.testing.assert_allclose(after[:3] + after[7:], soccer.data.mocap_pos[0], atol=1e-6)


def test_the_target_is_told_to_the_expert_and_not_clipped_to_zero(soccer: MetaWorldEnv) -> None:
    soccer.reset(seed=0)
    soccer.step(np.zeros(4, np.float32))
    assert np.allclose(soccer.vector()[-3:], soccer.params()["attributes"]["_target_pos"])


def test_the_horizon_truncates() -> None:
    env = MetaWorldEnv("soccer", max_steps=2, action_repeat=1)
    env.reset(seed=0)
    assert env.step(np.zeros(4, np.float32))[2:4] == (False, False)
    assert env.step(np.zeros(4, np.float32))[2:4] == (False, True)


def test_wrong_options_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch, soccer: MetaWorldEnv) -> None:
    with pytest.raises(ConfigError, match="got 'draw-open': did you mean 'drawer-open'"):
        MetaWorldEnv("draw-open")
    with pytest.raises(ConfigError, match=r"camera must be one of topview, .*, got 'side'"):
        MetaWorldEnv("soccer", camera="side")
    with pytest.raises(ConfigError, match="action_repeat and max_steps at least 1, got 98, 0 and 50"):
        MetaWorldEnv("soccer", action_repeat=0)
    with pytest.raises(NumericsError, match="action must be finite"):
        soccer.step(np.array([0.0, np.nan, 0.0, 0.0], np.float32))
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(ConfigError, match=r'pip install "worldrl\[metaworld\]"'):
        MetaWorldEnv("soccer")


def test_success_need_not_end_an_episode() -> None:
    env = MetaWorldEnv("door-lock", size=16, terminate=False, drawing=False)
    env.reset(seed=0)
    wins = []
    for _ in range(env.max_steps):
        _, _, end, trunc, info = env.step(metaworld_script(env))
        wins.append(info["success"])
        assert not end
    assert trunc and any(wins[:40])
