"""Importing the package is enough for gymnasium to find every environment."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode

import worldrl.envs  # noqa: F401
from worldrl.agents.scripts import SCRIPTS
from worldrl.envs.batch import RealVectorEnv
from worldrl.envs.registration import METAWORLD, TABLETOP, register_all
from worldrl.errors import ConfigError
from worldrl.recipes.options import check_env_id


def test_registering_twice_warns_of_nothing_and_changes_nothing() -> None:
    before = dict(gym.registry)
    register_all()
    assert dict(gym.registry) == before


def test_importing_the_environments_imports_neither_simulator_nor_networks() -> None:
    heavy = {"mujoco", "torch", "metaworld", "stable_baselines3"}
    code = f"import sys, worldrl.envs; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_task_of_meta_world_is_registered() -> None:
    tasks = pytest.importorskip("metaworld.env_dict").ALL_V3_ENVIRONMENTS
    assert {f"{task}-v3" for task in METAWORLD} == set(tasks)
    assert {f"worldrl/MetaWorld-{task}-v0" for task in METAWORLD} <= set(gym.registry)


def test_every_specification_can_be_written_down() -> None:
    for name, spec in gym.registry.items():
        if name.startswith("worldrl/"):
            assert EnvSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("name", TABLETOP)
def test_each_task_is_made_alone_and_as_a_batch_of_the_same(name: str) -> None:
    alone = gym.make(f"worldrl/{name}-v0", size=32)
    batch = gym.make_vec(f"worldrl/{name}-v0", num_envs=2, vectorization_mode="vector_entry_point", size=32)
    assert isinstance(batch, RealVectorEnv)
    assert [type(env) for env in batch.envs] == [type(alone.unwrapped)] * 2
    obs, info = batch.reset(seed=4)
    assert info["success"].tolist() == [False, False]
    for row in range(2):
        single = alone.reset(seed=4 + row)[0]
        assert all(np.array_equal(obs[key][row], single[key]) for key in single)
    assert batch.observation_space.contains(obs)
    batch.close()


@pytest.mark.parametrize("name", TABLETOP)
def test_each_task_has_an_expert(name: str) -> None:
    assert load_env_creator(f"worldrl.envs.{TABLETOP[name]}").__name__ in SCRIPTS


def test_a_batch_starts_an_ended_episode_anew_within_the_step() -> None:
    batch = gym.make_vec("worldrl/Reach-v0", num_envs=2, size=32, max_steps=2)
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    batch.reset(seed=0)
    acts = np.zeros((2, 4), np.float32)
    batch.step(acts)
    obs, _, end, trunc, info = batch.step(acts)
    assert trunc.all() and not end.any()
    assert (info["final_obs"][0]["proprio"] != obs["proprio"][0]).any()
    assert not batch.step(acts)[3].any()


def test_a_batch_keeps_the_moments_of_its_environments_within_reach() -> None:
    batch = gym.make_vec("worldrl/Reach-v0", num_envs=2, size=32)
    batch.reset(seed=0)
    first, second = batch.call("labels")
    assert first.shape == second.shape == (32, 32)
    assert (first != second).any()


def test_another_environment_of_gymnasium_is_seen_by_pixels_alone_and_in_a_batch() -> None:
    alone = gym.make("worldrl/Pixels-v0", env="InvertedPendulum-v5", size=32)
    batch = gym.make_vec("worldrl/Pixels-v0", num_envs=2, env="InvertedPendulum-v5", size=32)
    assert np.array_equal(batch.reset(seed=0)[0]["image"][0], alone.reset(seed=0)[0]["image"])


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_envs must be at least 1, got 0"):
        gym.make_vec("worldrl/Reach-v0", num_envs=0)


def test_modules_of_the_user_register_their_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "envs_of_mine.py").write_text("import gymnasium\ngymnasium.register('Mine-v0', 'nowhere:Mine')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WORLDRL_ENVS", " envs_of_mine, ")
    check_env_id("Mine-v0")
    gym.registry.pop("Mine-v0")


def test_a_module_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDRL_ENVS", "no_such_module")
    with pytest.raises(ConfigError, match="must name modules that can be imported, got 'no_such_module'"):
        check_env_id("worldrl/Reach-v0")
