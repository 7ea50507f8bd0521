"""Reward from text: success by a sentence in place of the trained success classifier, in frames and in refinement."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.evaluation.agreement import agreement
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.stock import Figures, Need, Stock
from worldrl.recipes.studies.worlds import plan_of, play, task_of
from worldrl.types import Array

READ = {
    "closed": (
        "close the drawer", "shut the drawer", "push the drawer in", "slide the drawer shut", "put the drawer back in",
        "please close it", "bring the drawer in", "push in the drawer until it is shut", "shut the drawer, please",
    ),
    "open": (
        "open the drawer", "pull the drawer out", "pull the drawer open", "slide the drawer open",
        "draw the drawer out", "please open it", "get the drawer out", "pull out the drawer until it is open",
        "pull it open, please",
    ),
}  # fmt: skip
"""Goals by what they mean, none of which describes a frame: the share of them that is read as meant is a figure."""
SHOWN = 8
"""Frames of the picture."""


@dataclass
class Options:
    """Options of an arm."""

    what: str = option("close_drawer", "which world, a name in worldrl.recipes.studies.worlds.PLANS")
    text: str = option("", "the goal; empty for the world's trained success classifier")
    both: bool = option(False, "learn sentences from frames of both tasks, not of the world's own alone")
    random_text: bool = option(False, "leave the text encoder's weights at random")
    other: str = option("pull the drawer open", "a goal of the other task, by which its frames are judged")
    goal_steps: int = option(1500, "gradient steps of the judge of texts")
    steps: int = option(160_000, "imagined steps of refinement; 0 for none")
    last: bool = option(True, "keep the last policy, as World4RL does, rather than choose one by imagined success")
    episodes: int = option(100, "held-out episodes of refined policies, the first of those of the cloned one")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(goal_steps=self.goal_steps, episodes=self.episodes)
        if not 1 <= self.episodes <= plan_of(self.what).held:
            raise ConfigError(f"episodes must be in [1, {plan_of(self.what).held}], got {self.episodes}.")
        if (self.random_text or self.both) and not self.text:
            raise ConfigError("random_text and both need a text, got none.")


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return (Need("world", options.what),)


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Judge held-out frames, refine the cloned policy by that judgement, and measure both in MuJoCo."""
    from worldrl.data.dataset import Dataset
    from worldrl.recipes.text_goals import Goals
    from worldrl.world_model.world import World

    at = stock.world(options.what, seed)
    world = World.from_pretrained(at / "world")
    held, others = Dataset(at / "held"), Dataset(at / "held_others")
    figures: Figures = {"cloned": float(np.mean([episode.success.any() for episode in held]))}
    if options.text:
        _learn(options, at, folder, seed=seed)
        goals = Goals.from_pretrained(folder / "goal")
        aimed = goals.aim(world, options.text)
        figures |= {"read": _read(goals.reader)}
        figures |= {"auroc_other": _agreement(goals.aim(world, options.other), at, others)["auroc"]}
    else:
        aimed = world
    figures |= _agreement(aimed, at, held)
    if options.steps:
        figures |= _refined(options, aimed, at, folder, seed=seed)
    if seed == 0:
        _draw(aimed, at, held, folder / "picture.png")
    return figures


def _learn(options: Options, at: Path, folder: Path, *, seed: int) -> None:
    """Let sentences be learnt, of the task's frames or of those of both tasks."""
    from worldrl.recipes import goals

    goals.run(
        goals.Config(
            episodes=[str(at / name) for name in ("episodes", *(["others"] if options.both else []))],
            observation=str(at / "observation"),
            world=str(at / "world"), out=str(folder / "goal"), features=str(at / "features"),
            random_text=options.random_text, steps=options.goal_steps, seed=seed,
        )
    )  # fmt: skip


def _read(reader: Any) -> float:
    """Return the share of goals that are read as meant."""
    states = reader.descriptions.states
    right = [states[int(best)] == state for state, texts in READ.items() for best in reader.scores(texts).argmax(dim=1)]
    return float(np.mean(right))


def _agreement(world: Any, at: Path, episodes: Any) -> Figures:
    """Compare a world's judgement of recorded frames with MuJoCo's.

    Returns:
        Of single frames: ``auroc``, ``accuracy``, ``balanced_accuracy`` from the world's own threshold on. Of whole
        episodes, in which one frame is enough: ``false_positive``, the share of failures that are called successes,
        and ``found``, that of successes.
    """
    scores, truth = _judged(world, at, episodes)
    single = agreement(torch.cat(scores), torch.cat(truth), threshold=world.model.success_threshold)
    figures = {"auroc": single.auroc, "accuracy": single.accuracy, "balanced_accuracy": single.balanced}
    return figures | _called(world, at, episodes)


def _called(world: Any, at: Path, episodes: Any) -> Figures:
    """Return which share of failed episodes is called a success, and which of those that succeeded; None of no one."""
    scores, truth = _judged(world, at, episodes)
    said = np.array([bool((one >= world.model.success_threshold).any()) for one in scores])
    won = np.array([bool(one.any()) for one in truth])
    return {
        "false_positive": float(said[~won].mean()) if (~won).any() else None,
        "found": float(said[won].mean()) if won.any() else None,
    }


def _judged(world: Any, at: Path, episodes: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the probability of success of each observation of each episode, and MuJoCo's word."""
    from worldrl.recipes.parts import pipeline_at, tokens_of

    with pipeline_at(at / "observation", at / "features") as pipeline:
        tokens = tokens_of(episodes, pipeline)
    with torch.no_grad():
        scores = [world.model.success(torch.as_tensor(np.asarray(obs))).sigmoid() for obs in tokens.obs]
    return scores, [torch.as_tensor(np.asarray(success)) for success in tokens.success]


def _refined(options: Options, world: Any, at: Path, folder: Path, *, seed: int) -> Figures:
    """Refine the cloned policy in a world, and play both in MuJoCo on the same held-out episodes."""
    from worldrl.agents.policy import load_policy
    from worldrl.data.dataset import Dataset
    from worldrl.recipes import refine
    from worldrl.recipes.measurement import IMAGINED, imagine

    goal: dict[str, Any] = {"goal": str(folder / "goal"), "text": options.text} if options.text else {}
    result = refine.run(
        refine.Config(
            world=str(at / "world"), policy=str(at / "clone"), out=str(folder / "refined"), steps=options.steps,
            trust=refine.TrustOptions(last=options.last, slack=1.0), seed=seed, **goal,
        )
    ).figures  # fmt: skip
    played = play(
        task_of(options.what), at, policy=str(folder / "refined"), out=folder / "played", episodes=options.episodes,
        seed=seed,
    )  # fmt: skip
    policy, _ = load_policy(folder / "refined")
    after = [bool(episode.success.any()) for episode in played]
    before = [bool(episode.success.any()) for episode in Dataset(at / "held")][: len(after)]
    imagined = imagine(world, policy, episodes=IMAGINED, seed=seed)
    return {
        "refined": float(np.mean(after)),
        "gain": float(np.mean(after) - np.mean(before)),
        "imagined": imagined,
        "gap": imagined - float(np.mean(after)),
        "fooled": _called(world, at, Dataset(folder / "played"))["false_positive"],
        "kept_after": result["kept_after_steps"],
        "imagined_steps": result["imagined_steps"],
    }


def _draw(world: Any, at: Path, episodes: Any, path: Path) -> None:
    """Draw an episode that succeeded, and one that failed, beneath each frame the probability that the goal holds."""
    import imageio.v3 as imageio

    frames, captions = list[Array](), list[str]()
    for wanted in (True, False):
        found = [i for i, episode in enumerate(episodes) if bool(episode.success.any()) == wanted]
        if not found:
            continue
        one = episodes.subset(found[:1])
        (scores,), _ = _judged(world, at, one)
        frames += [np.asarray(one[0].frames[i]) for i in _moments(len(scores))]
        captions += [f"{float(scores[i]):.2f}" for i in _moments(len(scores))]
    imageio.imwrite(path, drawing.sheet(frames, columns=SHOWN, captions=captions))


def _moments(count: int) -> Sequence[int]:
    return [int(i) for i in np.linspace(0, count - 1, SHOWN).round()]
