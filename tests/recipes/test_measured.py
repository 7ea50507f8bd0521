"""What a report measures by itself, in worlds that are simple enough to count along."""

import base64
import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.errors import CheckpointError, ConfigError
from worldrl.observation import ObservationPipeline
from worldrl.recipes import collect, encode, imagined, parts, report
from worldrl.recipes.held_out import note
from worldrl.recipes.options import EncoderOptions, EnvOptions
from worldrl.recipes.reporting import measured
from worldrl.recipes.reporting.places import find
from worldrl.types import Array, Episode, Imagined, Starts
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.tokens import Tokens
from worldrl.world_model.world import World

FRAME = np.zeros((8, 8, 3), np.uint8)


class Line(gym.Env[Any, Any]):
    """A place on a line, moved by the action; the task is to be beyond two."""

    def __init__(self) -> None:
        self.place = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.place = -100.0
        return {}, {}

    def restore(self, state: Array, fields: Any, params: Any) -> dict[str, Array]:
        self.place = float(state[0])
        return {"image": FRAME}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += float(action[0])
        return {"image": FRAME}, 0.0, False, False, {"success": self.place > 2}


class Dream:
    """The same line imagined, where a step is twice as long, and a fifth of the place is how sure success is."""

    history, obs_shape, act_dim, success_threshold = 1, (1,), 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        nxt = obs[:, -1] + 2 * acts[:, -1]
        return Imagined(nxt, (nxt[:, 0] / 5).clamp(0, 1), nxt[:, 0].abs() / 10)


class Pusher:
    """A policy that pushes as hard as it can."""

    def predict(self, obs: Array, state: Any = None, **_: Any) -> tuple[Array, Any]:
        return np.ones((len(obs), 1), np.float32), None


def recorded(*lengths: int) -> Tokens:
    """Record a push of one a step, from zero."""
    obs = [np.arange(length + 1, dtype=np.float32)[:, None] for length in lengths]
    acts = [np.ones((length, 1), np.float32) for length in lengths]
    return Tokens(obs, acts, [np.zeros(length + 1, bool) for length in lengths], ["policy"] * len(lengths))


def test_errors_by_horizon_are_those_of_every_open_loop_step() -> None:
    found = measured.horizon(Dream(), recorded(5, 5), seed=0)
    assert found is not None and (found["steps"], found["segments"]) == (5, 2)
    assert found["model"] == pytest.approx([1, 4, 9, 16, 25])  # imagined 2, 4, 6, 8, 10 where 1, 2, 3, 4, 5 came
    assert found["repeat_last"] == pytest.approx([1, 4, 9, 16, 25])
    assert found["apart"] == found["apart_most"] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_quantile_of_disagreement_is_over_segments() -> None:
    tokens = recorded(1, 1)
    tokens.obs[1] += 10.0  # imagined at 2 and at 12
    found = measured.horizon(Dream(), tokens, seed=0)
    assert found is not None and found["apart"] == pytest.approx([0.7]) and found["apart_most"] == pytest.approx([1.1])


@pytest.mark.parametrize(("length", "steps"), [(30, 25), (24, 15), (4, 2), (1, 1)])
def test_the_longest_horizon_that_an_episode_has_is_taken(length: int, steps: int) -> None:
    found = measured.horizon(Dream(), recorded(1, length), seed=0)
    assert found is not None and found["steps"] == steps == len(found["model"])


def begin(place: float, seed: int) -> Episode:
    """One recorded step, of which only the first state matters."""
    return Episode(
        frames=np.zeros((2, 1, 1, 3), np.uint8), labels=np.zeros((2, 1, 1), np.uint8),
        proprio=np.zeros((2, 1), np.float32), acts=np.zeros((1, 1), np.float32), rews=np.zeros(1, np.float32),
        success=np.zeros(2, np.bool_), states=np.full((2, 1), place), end=False, trunc=False, seed=seed, policy="",
    )  # fmt: skip


def hallucinated(monkeypatch: pytest.MonkeyPatch, *places: float) -> dict[str, Any]:
    """Let a policy push from some places, imagined and in the environment."""
    monkeypatch.setattr(parts, "make_env", lambda task, kwargs: Line())
    episodes = [begin(place, seed) for seed, place in enumerate(places)]
    obs = [np.full((2, 1), place, np.float32) for place in places]
    tokens = Tokens(obs, [e.acts for e in episodes], [e.success for e in episodes], ["policy"] * len(places))
    world = SimpleNamespace(model=Dream(), horizon=4, task="line", decoder=None)
    dataset = SimpleNamespace(manifest=SimpleNamespace(env_kwargs={}))
    return measured.hallucinations(world, dataset, episodes, tokens, Pusher(), name="clone", seed=0)


def test_only_imagined_successes_that_fail_when_they_are_replayed_are_false(monkeypatch: pytest.MonkeyPatch) -> None:
    # From 1.0 it imagines 3.0, is at 2.0 and fails; from 0.0 it imagines 4.0 after two steps, and is at 2.0; from 1.5
    # it imagines 3.5 and is at 2.5, which is a success; from -30 nobody imagines one.
    found = hallucinated(monkeypatch, 1.0, 0.0, 1.5, -30.0)
    assert found["policy"] == "clone"
    assert (found["imagined_success"]["count"], found["imagined_success"]["trials"]) == (3, 4)
    assert (found["false_success"]["count"], found["false_success"]["trials"]) == (2, 3)
    assert [(one["seed"], one["steps"], one["probability"]) for one in found["worst"]] == [
        (1, 2, pytest.approx(0.8)), (0, 1, pytest.approx(0.6)),
    ]  # fmt: skip
    assert all(one["picture"] is None for one in found["worst"])


def test_where_every_success_is_real_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hallucinated(monkeypatch, 1.5, 1.9)
    assert found["false_success"]["count"] == 0 and found["false_success"]["trials"] == 2 and found["worst"] == []


def test_no_more_than_the_surest_are_shown_and_drawn_where_there_is_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio.v3 as imageio

    monkeypatch.setattr(imagined, "decode_of", lambda world: lambda obs: [FRAME] * len(obs))
    found = hallucinated(monkeypatch, *(0.5 + 0.1 * i for i in range(6)))
    assert found["false_success"]["count"] == 6 and len(found["worst"]) == measured.WORST
    assert [one["seed"] for one in found["worst"]] == [5, 4, 3, 2]  # 0.6 of the one at 1.0, down to 0.54
    picture = imageio.imread(io.BytesIO(base64.b64decode(found["worst"][0]["picture"])))
    assert picture.shape[2] == 3 and picture.shape[0] < picture.shape[1] * 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes, a pipeline, and a world that has learnt nothing of what they show."""
    folder = tmp_path_factory.mktemp("run")
    env = EnvOptions("worldrl/Reach-v0", {"size": 28, "max_steps": 4})
    for policy in ("expert", "random"):
        collect.run(collect.Config(env=env, out=str(folder / "episodes"), policy=policy, episodes=6))
    encode.run(
        encode.Config(
            episodes=str(folder / "episodes"), out=str(folder / "observation"), encoder=EncoderOptions(name="none")
        )
    )
    return folder


def put_world(run: Path, pipeline: str = "") -> None:
    """Save an untrained world for a pipeline, its own one if none is named, from which half of all was held out."""
    from worldrl.data.dataset import Dataset

    seen = ObservationPipeline.from_pretrained(run / "observation")
    torch.manual_seed(0)
    model = DiffusionWorldModel(
        obs_shape=seen.shape, act_dim=4, net=TOKEN_SIZES["tiny"], pipeline=pipeline or seen.hash
    ).freeze()  # fmt: skip
    starts = Starts(torch.randn(6, model.history, *seen.shape), torch.rand(6, model.history - 1, 4))
    World(
        model, starts, firsts=4, horizon=4, task="worldrl/Reach-v0", real_steps=1, wins=(), outcomes=(None,) * 4,
        decoder=None,
    ).save_pretrained(run / "world")  # fmt: skip
    note(run / "world", Dataset(run / "episodes"), 0.5)


def test_a_run_is_measured_on_what_its_world_has_not_seen(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, folder := tmp_path / "run")
    put_world(folder)
    found = measured.measure(find(folder), "", seed=0)
    assert found["episodes"] == 6 and found["horizon"]["steps"] == 2
    trials = [found[name]["trials"] if found[name] else 0 for name in ("missed_success", "failed_replay")]
    assert sum(trials) == 6 and found["hallucinations"] is None  # nobody is there to act
    report.run(report.Config(run=str(folder)))
    assert "nobody could act in it" in (folder / "report.html").read_text()


def test_a_world_of_another_pipeline_is_not_measured_and_the_page_says_so(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, folder := tmp_path / "run")
    put_world(folder, pipeline="f00")
    with pytest.raises(CheckpointError, match=r"world was made for observation pipeline f00, this one is"):
        measured.measure(find(folder), "", seed=0)
    report.run(report.Config(run=str(folder)))
    text = (folder / "report.html").read_text()
    assert "It was not measured: " in text and "was made for observation pipeline f00" in text


def test_a_world_whose_data_lie_elsewhere_is_measured_where_they_are_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, folder := tmp_path / "run")
    put_world(folder)
    world = folder / "world"
    with pytest.raises(ConfigError, match=r"no episodes in .*world: name their folder by episodes="):
        measured.measure(find(world), "", seed=0)
    at = {name: str(folder / name) for name in ("episodes", "observation")}
    assert measured.measure(find(world, **at), "", seed=0) == measured.measure(find(folder), "", seed=0)
    with pytest.raises(ConfigError, match=r"episodes must be a folder, got 'nowhere'"):
        find(world, episodes="nowhere")
