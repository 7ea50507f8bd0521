"""The tasks themselves: what is refused, and that the physics does what the pictures promise."""

from typing import Any

import numpy as np
import pytest

from worldrl.agents.scripts import reach_towards, script_for
from worldrl.envs.drawer import OPENED, CloseDrawerEnv, OpenDrawerEnv
from worldrl.envs.pick_place import PLATE, PickPlaceEnv
from worldrl.envs.press_button import PressButtonEnv
from worldrl.envs.push import RADIUS, PushEnv
from worldrl.envs.reach import ReachEnv
from worldrl.errors import ConfigError, NumericsError


def test_an_unknown_factor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="variation must be among colour, light, camera, table, got weather"):
        ReachEnv(variation=("weather",))


@pytest.mark.parametrize("wrong", [{"size": 4}, {"max_steps": 0}])
def test_a_number_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="size must be at least 8 and max_steps at least 1"):
        ReachEnv(**wrong)


@pytest.mark.fault(37)
def test_an_action_that_is_not_finite_is_refused() -> None:
    env = ReachEnv(size=16)
    env.reset(seed=0)
    with pytest.raises(NumericsError, match="action must be finite"):
        env.step(np.array([0.0, np.nan, 0.0, 0.0]))


def test_two_environments_of_one_task_do_not_share_their_scene() -> None:
    first, second = PressButtonEnv(size=48), PressButtonEnv(size=48)
    before = first.reset(seed=0)[0]["image"]
    second.reset(seed=1)
    assert np.array_equal(first.restore(first.state(), first.fields(), first.params())["image"], before)


def test_a_full_action_moves_the_fingertip_about_two_centimetres() -> None:
    env = ReachEnv(size=16)
    env.reset(seed=0)
    for _ in range(3):
        before = env.fingertip()
        env.step(np.array([1.0, 0.0, 0.0, 0.0]))
    assert env.fingertip()[0] - before[0] == pytest.approx(0.02, abs=0.005)


def carry(env: Any) -> None:
    """Let the expert work until the cube is 3 cm above the table."""
    env.reset(seed=1)
    while env.lift() < 0.03:
        env.step(script_for(env)(env))


def test_a_grasped_cube_stays_between_the_fingers() -> None:
    env = PickPlaceEnv(size=16)
    carry(env)
    grip = env.position("cube") - env.fingertip()
    for k in range(40):
        env.step(np.array([np.sin(k / 3), np.cos(k / 3), 0.1, -1.0]))
    assert np.linalg.norm(env.position("cube") - env.fingertip() - grip) < 0.005


def test_a_cube_that_is_let_go_falls() -> None:
    env = PickPlaceEnv(size=16)
    carry(env)
    for _ in range(10):
        env.step(np.array([0.0, 0.0, 0.0, 1.0]))
    assert env.lift() == pytest.approx(0.0, abs=0.001)


def test_a_cube_is_not_placed_before_it_is_let_go() -> None:
    env = PickPlaceEnv(size=16)
    carry(env)
    for _ in range(25):
        target = env.position("plate") + np.array([0.0, 0.0, 0.019])
        _, _, end, _, _ = env.step(reach_towards(env, target, gripper=-1.0))
        assert not end
    assert env.lift() == pytest.approx(PLATE, abs=0.003)
    ends = [env.step(np.array([0.0, 0.0, 0.0, 1.0]))[2] for _ in range(3)]
    assert any(ends)


def test_a_block_lies_still_until_it_is_touched() -> None:
    env = PushEnv(size=16)
    env.reset(seed=0)
    before = env.position("block")
    for _ in range(20):
        env.step(np.array([0.0, 0.0, 1.0, 0.0]))
    assert np.linalg.norm(env.position("block") - before) < 0.001


@pytest.mark.parametrize(("beside", "solved"), [(RADIUS - 0.002, True), (RADIUS + 0.002, False)])
def test_a_block_has_arrived_when_its_centre_is_over_the_mark(beside: float, solved: bool) -> None:
    env = PushEnv(size=16)
    env.reset(seed=0)
    env.data.joint("block").qpos[:2] = env.position("goal")[:2] + np.array([beside, 0.0])
    env.data.joint("hand_z").qpos[0] = 0.15
    _, rew, end, _, _ = env.step(np.zeros(4))
    assert end is solved
    assert (rew == 1.0) is solved


def test_a_drawer_stays_where_it_is_left() -> None:
    for env in (OpenDrawerEnv(size=16), CloseDrawerEnv(size=16)):
        env.reset(seed=3)
        before = env.opening()
        for _ in range(20):
            env.step(np.array([0.0, 0.0, 1.0, 0.0]))
        assert env.opening() == pytest.approx(before, abs=0.001)


def test_a_drawer_is_pulled_only_by_its_handle() -> None:
    env = OpenDrawerEnv(size=16)
    env.reset(seed=3)
    high = env.handle() + np.array([0.0, 0.0, 0.04])
    for target in [high] * 20 + [high - np.array([0.0, 0.1, 0.0])] * 15:
        env.step(reach_towards(env, target, gripper=-1.0))
    assert env.opening() < 0.001
    while env.opening() < OPENED:
        env.step(script_for(env)(env))
    assert env.handle()[1] == pytest.approx(env.position("cabinet")[1] - 0.072 - env.opening(), abs=0.001)


def test_labels_name_the_parts_by_the_body_that_moves() -> None:
    env = CloseDrawerEnv(size=98)
    env.reset(seed=4)
    drawer = env.objects.index("drawer") + 1
    rows = [np.argwhere(env.labels() == drawer)[:, 0].max()]
    env.data.joint("drawer").qpos[0] = 0.0
    env.restore(env.state(), env.fields(), env.params())
    rows.append(np.argwhere(env.labels() == drawer)[:, 0].max())
    assert rows[0] > rows[1] + 4
