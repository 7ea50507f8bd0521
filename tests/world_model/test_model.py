"""A world model imagines the same whoever asks, for tokens and for frames, and is the same after saving."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldrl.data.segments import SegmentSampler
from worldrl.diffusion.denoiser import Denoiser
from worldrl.errors import CheckpointError, ConfigError
from worldrl.evaluation.fidelity import judged_successful, one_step_error
from worldrl.evaluation.heeding import action_verdict
from worldrl.evaluation.recorded import replay_of
from worldrl.world_model.fit import fit_dynamics
from worldrl.world_model.judges import calibrate, fit_success
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.tokens import Tokens

TOKENS: dict[str, Any] = {"obs_shape": (3, 5), "act_dim": 2, "net": TOKEN_SIZES["tiny"]}
FRAMES: dict[str, Any] = {
    "obs_shape": (3, 16, 16), "act_dim": 2, "history": 2, "net": {"channels": [16], "blocks": 1, "members": 2},
}  # fmt: skip


def make(settings: dict[str, Any]) -> DiffusionWorldModel:
    torch.manual_seed(0)
    return DiffusionWorldModel(**settings)


def inputs(model: DiffusionWorldModel, count: int = 4) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {
        "obs": torch.randn(count, model.history, *model.obs_shape, generator=rng),
        "acts": torch.rand(count, model.history, model.act_dim, generator=rng) * 2 - 1,
        "noise": torch.randn(count, *model.obs_shape, generator=rng),
        "choice": torch.rand(count, generator=rng),
    }


@pytest.mark.parametrize("settings", [TOKENS, FRAMES], ids=["tokens", "frames"])
def test_imagining_is_a_pure_function_row_by_row(settings: dict[str, Any]) -> None:
    model = make(settings).freeze()
    before, given = model.hash(), inputs(model)
    once, twice = model.imagine(**given), model.imagine(**given)
    alone = model.imagine(**{name: tensor[2:3] for name, tensor in given.items()})
    torch.testing.assert_close(once.obs, twice.obs, atol=0, rtol=0)
    torch.testing.assert_close(alone.obs, once.obs[2:3], atol=1e-5, rtol=1e-4)
    assert once.obs.shape == (4, *model.obs_shape) and once.success.shape == once.disagreement.shape == (4,)
    assert ((once.success >= 0) & (once.success <= 1)).all()
    assert model.hash() == before


@pytest.mark.parametrize("settings", [TOKENS, FRAMES], ids=["tokens", "frames"])
def test_a_saved_model_is_the_same_and_frozen(settings: dict[str, Any], tmp_path: Path) -> None:
    model = make(settings).freeze()
    model.halt_threshold, model.success_threshold = 0.3, 0.6
    model.save_pretrained(tmp_path / "model")
    again = DiffusionWorldModel.from_pretrained(tmp_path / "model")
    assert again.hash() == model.hash() and again.config() == model.config()
    assert not again.training and not any(parameter.requires_grad for parameter in again.parameters())
    torch.testing.assert_close(again.imagine(**inputs(model)).disagreement, model.imagine(**inputs(model)).disagreement)


def test_a_config_with_a_foreign_class_is_refused(tmp_path: Path) -> None:
    make(TOKENS).save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"class": "os.system"}))
    with pytest.raises(CheckpointError, match="does not match its manifest"):
        DiffusionWorldModel.from_pretrained(tmp_path / "model")


def test_a_shape_that_is_neither_tokens_nor_frames_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"obs_shape must be \(k, d\) for tokens or \(c, h, w\) for frames, got \(3,\)"
    ):
        DiffusionWorldModel(obs_shape=(3,), act_dim=2, net={})


@pytest.fixture(scope="module")
def world() -> Tokens:
    """Episodes of a hand that moves as it is told, and succeeds where it is above 0.6 along the first axis."""
    rng = np.random.default_rng(0)
    obs, acts, success = [], [], []
    for _ in range(60):
        act = rng.uniform(-1, 1, (15, 2)).astype(np.float32)
        tokens = np.zeros((16, 3, 5), np.float32)
        tokens[:, 1:] = rng.normal(size=(2, 5))
        tokens[1:, 0, :2] = 0.3 * np.cumsum(act, axis=0)
        obs.append(tokens)
        acts.append(act)
        success.append(tokens[:, 0, 0] > 0.6)
    return Tokens(obs, acts, success, ["policy"] * 60)


def test_it_learns_a_world_and_calibrates_what_it_calls_success(world: Tokens) -> None:
    model = make(TOKENS)
    fit_dynamics([model], [world.subset(range(45))], steps=60, seed=0)
    fit_success(model, world.subset(range(45)), head=model.success, steps=300, seed=0)
    held = world.subset(range(45, 60))
    calibrate(model, held, replayed=world, seed=0)
    model.freeze()
    assert 0.3 <= model.success_threshold <= 0.97 and 0 < model.halt_threshold < float("inf")
    obs = torch.as_tensor(np.stack([o[3:7] for o in held.obs]))
    acts = torch.as_tensor(np.stack([a[3:7] for a in held.acts]))
    out = model.imagine(obs, acts, noise=torch.zeros(15, 3, 5), choice=torch.zeros(15))
    truth = torch.as_tensor(np.stack([o[7] for o in held.obs]))
    assert (out.obs - truth)[:, 0, :2].abs().mean() < 0.3 * (truth - obs[:, -1])[:, 0, :2].abs().mean()
    answers = torch.as_tensor(np.stack([s[7] for s in held.success]))
    assert ((out.success >= model.success_threshold) == answers).float().mean() >= 0.8


@pytest.mark.parametrize(("push", "blur"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5)])
def test_it_learns_from_pasts_as_imagination_has_them(
    world: Tokens, monkeypatch: pytest.MonkeyPatch, push: float, blur: float
) -> None:
    model, asked, ask = make(TOKENS), list[torch.Tensor](), Denoiser.ask

    def listen(self: Denoiser, target: torch.Tensor, past: torch.Tensor, *rest: Any, **named: Any) -> Any:
        asked.append(past)
        return ask(self, target, past, *rest, **named)

    monkeypatch.setattr(Denoiser, "ask", listen)
    fit_dynamics([model], [world], steps=20, push=push, blur=blur, seed=0)
    recorded = {row.tobytes() for obs in world.obs for row in obs}
    known = [[row.numpy().tobytes() in recorded for row in past[:, -1]] for past in asked]
    assert all(all(rows) for rows in known[:3]) is (blur == 0.0)  # an untrained model's pasts are spared
    older = [all(row.numpy().tobytes() in recorded for row in past[:, :-1].flatten(0, 1)) for past in asked]
    assert all(older) is (blur == 0.0)
    share = np.mean(known[-1])
    assert (share == 1.0) if push == blur == 0.0 else (0.0 < share < 0.2) if push else (share == 0.0)


def test_several_tasks_share_one_network_and_each_keeps_its_own_judges(world: Tokens, tmp_path: Path) -> None:
    mirrored = Tokens(world.obs, [-acts for acts in world.acts], world.success, world.policies)
    models = [make(TOKENS | {"tasks": 2, "task": task}) for task in range(2)]
    fit_dynamics(models, [world, mirrored], steps=80, seed=0)
    assert models[0].denoiser.net is models[1].denoiser.net
    for task, model in enumerate(models):
        model.freeze().save_pretrained(tmp_path / str(task))
    loaded = [DiffusionWorldModel.from_pretrained(tmp_path / str(task)) for task in range(2)]
    given = inputs(loaded[0])
    moved = [(model.imagine(**given).obs - given["obs"][:, -1])[:, 0, :2] for model in loaded]
    pushed = given["acts"][:, -1]
    assert (moved[0] * pushed).sum() > 0 > (moved[1] * pushed).sum()  # the same push, the other way round


def test_a_number_that_never_changed_is_held(world: Tokens) -> None:
    model = make(TOKENS)
    fit_dynamics([model], [world], steps=5, seed=0)
    given = inputs(model)
    out = model.imagine(**given).obs
    torch.testing.assert_close(out[:, 1:], given["obs"][:, -1, 1:])
    assert not torch.equal(out[:, 0, :2], given["obs"][:, -1, 0, :2])


def test_a_task_that_is_not_among_the_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task must be in \[0, 2\), got 2"):
        make(TOKENS | {"tasks": 2, "task": 2})


def test_it_learns_from_several_imagined_observations_in_a_row(world: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked, ask = make(TOKENS), list[torch.Tensor](), Denoiser.ask

    def listen(self: Denoiser, target: torch.Tensor, past: torch.Tensor, *rest: Any, **named: Any) -> Any:
        asked.append(past)
        return ask(self, target, past, *rest, **named)

    monkeypatch.setattr(Denoiser, "ask", listen)
    fit_dynamics([model], [world], steps=60, push=1.0, reach=3, blur=0.0, seed=0)
    recorded = {row.tobytes() for obs in world.obs for row in obs}
    imagined = [[row.numpy().tobytes() not in recorded for row in rows] for past in asked[9:] for rows in past]
    assert {tuple(rows) for rows in imagined} >= {(False, False, False, True), (False, True, True, True)}
    assert all(rows == sorted(rows) for rows in imagined)  # what follows an imagined observation is imagined too


def test_the_border_of_success_is_where_replays_succeed_as_often_as_recorded(world: Tokens) -> None:
    model = make(TOKENS)
    fit_dynamics([model], [world], steps=200, seed=0)
    fit_success(model, world, head=model.success, steps=300, seed=0)
    calibrate(model, world.subset(range(50, 60)), replayed=world, seed=0)
    model.freeze()
    recorded = np.mean([success.any() for success in world.success])
    found = judged_successful(model, replay_of(world, history=model.history), seed=1).double().mean()
    assert abs(float(found) - recorded) <= 0.1


def test_a_world_of_frames_heeds_its_actions_after_few_updates() -> None:
    rng, obs, acts = np.random.default_rng(0), [], []
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), axis=-1)
    for _ in range(40):
        act = rng.uniform(-1, 1, (12, 2)).astype(np.float32)
        places = np.clip(8 + np.cumsum(np.concatenate([rng.uniform(-4, 4, (1, 2)), act]), axis=0), 2, 13)
        light = np.exp(-np.square(grid - places[:, None, None]).sum(axis=-1) / 4)
        obs.append(np.repeat(0.3 * light[:, None], 3, axis=1).astype(np.float32))
        acts.append(act)
    seen = Tokens(obs, acts, [np.zeros(13, bool)] * 40, ["policy"] * 40)
    model = make(FRAMES | {"steps": 1, "net": {"channels": [32], "blocks": 1, "members": 1}})
    fit_dynamics([model], [seen.subset(range(32))], steps=200, batch_size=32, lr=5e-3, push=0.0, seed=0)
    held = seen.subset(range(32, 40))
    sampler = SegmentSampler(held.obs, held.acts, held.success, history=model.history, seed=0)
    batch = next(iter(sampler.epoch(96)))
    assert one_step_error(model, [(batch.obs, batch.acts)], seed=0).skill > 0.5
    assert action_verdict(model, batch.obs, batch.acts, seed=0).passed
