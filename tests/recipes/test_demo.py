"""The main job from its own command, on a tiny budget."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from worldrl.agents.policy import load_policy
from worldrl.data.dataset import Dataset
from worldrl.errors import CheckpointError, ConfigError
from worldrl.facts import known
from worldrl.recipes import clone, collect, demo, evaluate, evolve, fit, refine
from worldrl.recipes.config import compose
from worldrl.recipes.demonstrations import demonstrations
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions, WorldModelOptions
from worldrl.world_model.world import World

SUMMARY = {
    "task", "seed", "masks", "encoder", "episodes", "bc_success", "refined_success", "bc_interval", "refined_interval",
    "imagined_success", "real_steps_collected", "real_steps_during_refinement", "imagined_steps", "seconds_total",
    "seconds_by_stage", "peak_memory_gb", "versions",
}  # fmt: skip


def tiny(out: Path, **changes: object) -> demo.Config:
    settings: dict[str, object] = {
        "env": EnvOptions(id="worldrl/CloseDrawer-v0", kwargs={"size": 56, "max_steps": 40}),
        "encoder": EncoderOptions(name="none"),
        "world_model": WorldModelOptions(size="tiny"),
        "demonstrations": 20, "random": 4, "rollouts": 12, "clone_steps": 800, "fit_steps": 40, "success_steps": 40,
        "decoder_steps": 10, "imagined_steps": 2048, "slack": 1.0, "episodes": 20, "videos": 1, "threads": 1,
    }  # fmt: skip
    return demo.Config(out=str(out), **(settings | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "demo"
    demo.run(tiny(out, tensorboard=str(out / "board")))
    return out


def test_the_demo_leaves_what_it_promises(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary) >= SUMMARY
    assert summary["masks"] == "simulator" and summary["episodes"] == 20
    assert {path.suffix for path in (run / "videos").iterdir()} == {".mp4", ".gif", ".png"}
    assert json.loads((run / "config.json").read_text())["demonstrations"] == 20


def test_every_card_of_a_run_tells_its_task_its_masks_and_what_it_learned_from(run: Path) -> None:
    world = known(run / "world")
    assert world["episodes"] > 0 and world["real_steps"] > 0
    for part in ("clone", "world", "world/model", "world/starts", "world/decoder", "refined"):
        facts = known(run / part)
        assert (facts["task"], facts["masks"], facts["encoder"]) == (world["task"], "simulator", "none"), part
        assert facts["episodes"] == world["episodes"] or part == "clone"
    for policy in ("clone", "refined"):
        facts = known(run / policy)
        assert "of 20 held-out episodes" in facts["real_success"] and 0.0 <= facts["imagined_success"] <= 1.0


def test_tensorboard_shows_every_stage_that_learns(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags: set[str] = set()
    for folder in {file.parent for file in (run / "board").rglob("events.*")}:
        events = EventAccumulator(str(folder))
        events.Reload()
        tags |= set(events.Tags()["scalars"])
    assert tags >= {"clone/loss", "fit dynamics/loss", "fit success/loss", "fit decoder/loss", "refine/value loss"}


def test_cloning_learns_more_than_chance(run: Path) -> None:
    # Random play closes the drawer in 2.5 % of the episodes.
    assert json.loads((run / "summary.json").read_text())["bc_success"] >= 0.4


def test_refinement_takes_no_real_step_and_leaves_the_world_model_as_it_was(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["real_steps_during_refinement"] == 0
    assert summary["world_model_hash_before"] == summary["world_model_hash_after"]
    assert summary["imagined_steps"] >= 2048


@pytest.mark.parametrize(("found", "believed"), [(0.45, False), (0.55, True), (None, True)])
def test_a_world_that_cannot_tell_success_from_failure_is_not_believed(
    run: Path, tmp_path: Path, found: float | None, believed: bool
) -> None:
    world = tmp_path / "world"
    shutil.copytree(run / "world", world)
    figures = json.loads((world / "fidelity.json").read_text())
    (world / "fidelity.json").write_text(json.dumps(figures | {"success_recall": found, "hallucinated_success": 0.3}))
    trust = refine.TrustOptions(discern=0.2, slack=1.0)
    out = str(tmp_path / "refined")
    result = refine.run(
        refine.Config(world=str(world), policy=str(run / "clone"), out=out, trust=trust, steps=5120, trials=8)
    ).figures
    assert result["believed"] is believed
    assert {"masks": "simulator", "encoder": "none"}.items() <= known(out).items()
    assert (result["candidates"][-1]["steps"] > 0) is believed


def test_a_finished_run_says_so_and_returns_its_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    text = str(demo.run(tiny(run, tensorboard=str(run / "board"))))
    assert "| clone " in text and "| refined " in text and f"results: {run / 'summary.json'}" in text
    assert f"found {run} finished, nothing is left to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before


@pytest.mark.fault(16)
def test_a_run_does_not_go_on_under_other_options(run: Path) -> None:
    """Fault 16: the first option that differs is named, with what it was."""
    with pytest.raises(ConfigError, match=r"fit_steps must be 40 to go on with .*, got 41"):
        demo.run(tiny(run, fit_steps=41))


@pytest.mark.fault(15)
def test_a_run_whose_last_stages_are_missing_makes_only_those(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 15: a run that was killed while it evaluated ends as the one that was not."""
    out = tmp_path / "demo"
    shutil.copytree(run, out)
    told = json.loads((out / "stages.json").read_text())
    (out / "stages.json").write_text(json.dumps(told | {"done": told["done"][:-2]}))
    wanted = json.loads((out / "summary.json").read_text())
    for gone in ("summary.json", "evaluation.json"):
        (out / gone).unlink()
    demo.run(tiny(out, tensorboard=str(out / "board")))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "skipped" in line][-1] == "found refine, skipped"
    assert "found evaluate begun, goes on" in lines
    found, costs = (
        json.loads((out / "summary.json").read_text()),
        ("seconds_total", "seconds_by_stage", "peak_memory_gb"),
    )
    assert {k: v for k, v in found.items() if k not in costs} == {k: v for k, v in wanted.items() if k not in costs}
    assert found["seconds_by_stage"]["evaluate"] > wanted["seconds_by_stage"]["evaluate"]


def test_a_policys_own_successes_may_be_cloned_drifting_or_not(run: Path, tmp_path: Path) -> None:
    config, at = tiny(run), str(tmp_path / "episodes")
    shutil.copytree(run / "episodes", at)
    seen = str(run / "observation")
    collect.run(
        collect.Config(env=config.env, out=at, policy=str(run / "clone"), observation=seen, episodes=6, drift=0.2)
    )
    dataset = Dataset(Path(at))
    assert dataset.policies.count("drifting") == 6
    wins = {name: sum(bool(e.success.any()) for e in dataset.select(policy=name)) for name in ("policy", "drifting")}
    experts, everyone = (demonstrations(dataset, folder=at, own=own) for own in (False, True))
    assert sum(wins.values()) > 0 and len(everyone) == len(experts) + sum(wins.values())
    clone.run(clone.Config(episodes=at, observation=seen, out=str(tmp_path / "filtered"), own=0.33, steps=5))
    assert load_policy(tmp_path / "filtered")[1].real_steps == sum(len(episode) for episode in everyone)


def test_rounds_count_the_real_steps_that_they_take(run: Path, tmp_path: Path) -> None:
    before = Dataset(run / "episodes")
    config, defaults = tiny(run), evolve.Config()
    summary = evolve.run(
        evolve.Config(
            env=config.env, episodes=str(run / "episodes"), observation=str(run / "observation"),
            policy=str(run / "clone"), out=str(tmp_path / "evolved"), world_model=config.world_model, budget=2,
            fit=replace(defaults.fit, steps=20, success_steps=20), refine=replace(defaults.refine, steps=1024),
        )
    ).figures  # fmt: skip
    after = Dataset(tmp_path / "evolved/episodes")
    assert [one["real_steps"] for one in summary["rounds"]] == [0, after.num_steps - before.num_steps]
    assert len(after) == len(before) + 2 and len(Dataset(run / "episodes")) == len(before)
    assert len({episode.seed for episode in after.select(policy="policy")}) == len(after.select(policy="policy"))
    assert {path.name for path in (tmp_path / "evolved").iterdir()} >= {"policy-0", "policy-1", "world-0", "world-1"}


def test_what_follows_from_the_whole_cannot_be_told_to_a_round() -> None:
    words = ["episodes=data", "observation=o", "policy=clone", "out=rounds"]
    with pytest.raises(ConfigError, match=r"fit\.episodes, fit\.seed follow from the options of evolve: leave"):
        compose("evolve", [*words, "fit.episodes=other", "fit.seed=3"])
    with pytest.raises(ConfigError, match="lr must be positive, got -1"):
        compose("evolve", [*words, "refine.lr=-1"])
    config = compose("evolve", [*words, "fit.push=0.6", "refine.trust.radius=0.5", "world_model=medium"])
    assert (config.fit.push, config.refine.trust.radius, config.world_model.size) == (0.6, 0.5, "medium")


def test_a_world_is_the_same_from_memory_from_files_and_after_distilling_faster(run: Path, tmp_path: Path) -> None:
    def fitted(out: Path, **changes: object) -> World:
        settings: dict[str, Any] = {
            "episodes": str(run / "episodes"), "observation": str(run / "observation"), "out": str(out),
            "world_model": WorldModelOptions(size="tiny", steps=3), "steps": 20, "success_steps": 20,
            "decoder_steps": 0, "distil_steps": 20, "threads": 1,
        }  # fmt: skip
        fit.run(fit.Config(**(settings | changes)))
        return World.from_pretrained(out)

    memory = fitted(tmp_path / "memory")
    for _ in range(2):  # written, then found
        files = fitted(tmp_path / "files", tokens=str(tmp_path / "tokens"))
        assert files.model.hash() == memory.model.hash() and torch.equal(files.starts.obs, memory.starts.obs)
    faster = fitted(tmp_path / "faster", world_model=WorldModelOptions(size="tiny", steps=3, sampler="distilled"))
    assert (memory.model.evaluations, faster.model.evaluations) == (3, 1)
    assert torch.equal(faster.model.denoiser.change_scale, memory.model.denoiser.change_scale)


def test_a_policy_of_another_pipeline_is_refused(run: Path, tmp_path: Path) -> None:
    other = tiny(tmp_path / "other", seed=1, episodes=2, videos=0)
    demo.run(other)
    with pytest.raises(CheckpointError, match="made for observation pipeline"):
        evaluate.run(
            evaluate.Config(
                env=other.env, policies=[str(run / "clone")], observation=str(tmp_path / "other/observation"),
                out=str(tmp_path / "evaluation.json"), episodes=1,
            )
        )  # fmt: skip
    with pytest.raises(CheckpointError, match="use the pipeline of its own run"):
        refine.run(
            refine.Config(world=str(run / "world"), policy=str(tmp_path / "other/clone"), out=str(tmp_path / "refined"))
        )
    assert not (tmp_path / "refined").exists()


@pytest.mark.weights
@pytest.mark.slow
def test_the_demo_runs_without_masks_on_frozen_features(tmp_path: Path) -> None:
    demo.run(
        tiny(
            tmp_path / "demo", encoder=EncoderOptions(name="dinov2_vits14"), objects=ObjectOptions(masks="none"),
            demonstrations=4, rollouts=4, episodes=4, videos=0,
        )
    )  # fmt: skip
    summary = json.loads((tmp_path / "demo/summary.json").read_text())
    assert summary["masks"] == "none" and summary["encoder"] == "dinov2_vits14"


@pytest.mark.slow
def test_the_demo_runs_on_frames_with_the_frame_world_model(tmp_path: Path) -> None:
    demo.run(tiny(tmp_path / "demo", pixels=32, demonstrations=4, rollouts=4, episodes=4, imagined_steps=1024))
    summary = json.loads((tmp_path / "demo/summary.json").read_text())
    assert summary["masks"] == "none" and summary["encoder"] == "none"
    assert summary["observation"] == "frames (3, 32, 32)"
    assert {path.suffix for path in (tmp_path / "demo/videos").iterdir()} == {".mp4", ".gif", ".png"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("demonstration=3", "did you mean 'demonstrations'?"),
        ("env.id=worldrl/PresButton-v0", "did you mean 'worldrl/PressButton-v0'?"),
        ("episodes=0", "episodes must be positive, got 0"),
        ("encoder.name=dinov3", "encoder.name must be one of none, dinov2_vits14"),
        ("pixels=50", "pixels must be a multiple of 8"),
        ("threads=-1", "threads must be 0 or more, got -1"),
        ("objects=none encoder=none", "objects.masks=none needs a frozen encoder"),
        ("env.kwargs.size=64", "frames must be a multiple of 14 pixels for dinov2_vits14, got 64: use 70"),
        ("encoder.layer=13", "layer must be in [1, 12] for dinov2_vits14, got 13"),
        ("pixels=104", "pixels must be at most the 98 of the recorded frames, got 104"),
        ("world_model.size=huge", "world_model.size must be one of tiny, small, medium, base, got 'huge'"),
        ("world_model.history=0", "history must be positive, got 0"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(words: str, sentence: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worldrl.cli", "demo", *words.split(), f"out={tmp_path / 'run'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()
