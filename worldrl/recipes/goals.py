"""Learn from sentences what holds in an observation, so that a goal can be given to refinement as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError, DataError
from worldrl.facts import tell
from worldrl.recipes.boards import check_boards
from worldrl.recipes.held_out import check_share
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.parts import encoder_name, make_env, need, pipeline_at, tokens_of, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.telling import lessons, say
from worldrl.recipes.text_goals import TEXT, Goals
from worldrl.types import Array


@dataclass
class Config:
    """Options of ``worldrl goals``."""

    episodes: list[str] = field(
        default_factory=list,
        metadata={"help": "folders of data sets: first the world's own, then others with the same objects"},
    )
    observation: str = option(MISSING, "folder of the observation pipeline")
    world: str = option(MISSING, "folder of the world, which imagines what is judged")
    out: str = option(MISSING, "folder of what is learnt: refine takes it as goal=FOLDER text='...'")
    features: str = option("", "folder of the feature cache; empty for none")
    random_text: bool = option(False, "leave the text encoder's weights at random: the control for what it knows")
    steps: int = option(1500, "gradient steps")
    price: float = option(0.1, "what an object costs that is looked at")
    held_out: float | None = option(None, "share of the policy's episodes that fit kept out; null for what it noted")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seed: int = option(0, "of weights and batches")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(steps=self.steps)
        check_boards(self)
        if not self.episodes:
            raise ConfigError("episodes must name at least one data set, the world's: episodes=[runs/a/episodes].")
        check_share(self.held_out)


@dataclass(frozen=True)
class Described:
    """One data set as this stage needs it: its observations, and which states hold in them ``(t_i+1, k)``."""

    tokens: Any
    holds: list[Array]
    wordings: Mapping[str, Sequence[str]]


def run(config: Config) -> Result:
    """Describe the episodes, fit the judge, calibrate it in imagination, and save it."""
    from worldrl.world_model.world import World

    use_threads(config.threads)
    world = World.from_pretrained(need(config.world, "world"))
    cache = Path(config.features) if config.features else None
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        pipeline.require(world.model.pipeline, owner=config.world)
        seen = {"masks": pipeline.masks, "encoder": encoder_name(pipeline)}
        parts = [described(need(folder, "data set"), pipeline) for folder in config.episodes]
    if any(part.wordings != parts[0].wordings for part in parts):
        raise DataError("episodes must be of environments that describe the same states in the same words.")
    goals, learned = fit(config, world, parts)
    goals.save_pretrained(Path(config.out))
    episodes, steps = len(learned), sum(len(one) - 1 for one in learned)
    tell(Path(config.out), task=world.task, episodes=episodes, real_steps=steps, **seen)
    known = goals.reader.descriptions
    told = f"{len(known.states)} states in {len(known.sentences)} statements"
    say(f"goals {config.out}: {told} ({', '.join(known.states)})")
    return Result(
        "", {"out": config.out, "states": known.states, "statements": len(known.sentences), "episodes": episodes}
    )


def described(folder: Path, pipeline: Any) -> Described:
    """Observe the episodes of a data set, and let the simulator say what held when.

    Raises:
        ConfigError: If its environment describes no states.
    """
    from worldrl.data.dataset import Dataset

    dataset = Dataset(folder)
    dataset.require("states", by="goals")
    about = dataset.manifest
    env = make_env(about.env_id, {**about.env_kwargs, "drawing": False}).unwrapped
    if not getattr(env, "descriptions", None):
        raise ConfigError(
            f"{about.env_id} says nothing of its states: give its class 'descriptions' and 'facts', "
            "as DrawerEnv has them."
        )
    holds = [facts_of(env, episode) for episode in dataset]
    return Described(tokens_of(dataset, pipeline), holds, env.descriptions)


def facts_of(env: Any, episode: Any) -> Array:
    """Return which states hold in each observation of an episode ``(t+1, k)`` bool, by its simulator states alone."""
    rows = []
    for state in episode.states:
        env.restore(state, episode.fields, dict(episode.params))
        facts = env.facts()
        rows.append([facts[name] for name in env.descriptions])
    return np.array(rows, np.bool_)


def fit(config: Config, world: Any, parts: Sequence[Described]) -> tuple[Goals, list[Array]]:
    """Fit the judge to what was recorded and what the world imagines in its place, and calibrate it.

    Returns:
        The goals, and what held in the episodes that they were learned from.

    Args:
        config: Options of this stage.
        world: Which imagines; its own episodes are the first.
        parts: Described data sets.
    """
    import torch

    from worldrl.data.dataset import Dataset
    from worldrl.encoders import load_text_encoder
    from worldrl.language.goals import Descriptions, GoalReader
    from worldrl.recipes.held_out import few, split_of
    from worldrl.world_model.goals import TextJudge, fit_judge

    text: dict[str, Any] = TEXT | {"random_init": config.random_text, "seed": config.seed if config.random_text else 0}
    reader = GoalReader(load_text_encoder(**text), Descriptions(parts[0].wordings))
    dataset = Dataset(need(config.episodes[0], "data set"))
    own, (train, held) = parts[0], split_of(need(config.world, "world"), dataset, config.held_out)
    begun = few(train)
    if len(begun) != world.firsts:
        raise DataError(
            f"episodes must begin with the data set that the world was fitted to, {world.firsts} episodes that "
            f"held_out leaves, got {len(begun)}: name it first, with the held_out of fit."
        )
    recorded, dreams, holds, kinds = _examples(world.model, own, train, parts[1:], seed=config.seed)
    torch.manual_seed(config.seed)
    judge = TextJudge(obs_shape=world.model.obs_shape, text_width=reader.texts.shape[1])
    with lessons(config, "goals") as told:
        fit_judge(
            judge, recorded, dreams, reader.descriptions.spread(holds), reader.texts, kinds=kinds,
            steps=config.steps, price=config.price, seed=config.seed, progress=told.training("fit goals"),
        )  # fmt: skip
    goals = Goals(
        reader=reader,
        judge=judge,
        model=world.model.hash(),
        thresholds=_borders(world.model, judge, reader.states, own, sorted(train + held), seed=config.seed),
        first=torch.from_numpy(np.stack([_firsts(own.holds[i]) for i in begun])),
        text=text,
    )
    return goals, [own.holds[i] for i in train] + [one for part in parts[1:] for one in part.holds]


def _examples(model: Any, own: Described, train: list[int], others: Sequence[Described], *, seed: int) -> Any:
    """Return recorded observations, imagined ones in their place, what holds in them, and of which data set each is.

    Of other tasks nothing is imagined: the world has not learnt how they go.
    """
    import torch

    from worldrl.data.rows import spaced
    from worldrl.world_model.judges import dreamt
    from worldrl.world_model.tokens import MOST

    rng = torch.Generator().manual_seed(seed + 1)
    recorded, dreams, _ = dreamt(model, own.tokens.subset(train), rng, seed=seed)
    holds = np.concatenate([own.holds[i][1:] for i in train])
    holds = holds[spaced(len(holds), MOST)]
    kinds = np.zeros(len(holds), np.int64)
    for kind, part in enumerate(others, start=1):
        beside = torch.from_numpy(np.concatenate([np.asarray(one) for one in part.tokens.obs])).float()
        recorded, dreams = torch.cat([recorded, beside]), torch.cat([dreams, beside])
        holds = np.concatenate([holds, *part.holds])
        kinds = np.concatenate([kinds, np.full(len(beside), kind)])
    return recorded, dreams, torch.from_numpy(holds), torch.from_numpy(kinds)


def _borders(model: Any, judge: Any, states: Any, own: Described, known: list[int], *, seed: int) -> Any:
    """Return from which probability each state counts in imagination ``(k,)``, by the episodes that the world knows.

    As ``worldrl.world_model.judges.calibrate`` finds the border of success, but by what the simulator's descriptions
    say came about, not by the task's success: imagination is to find a state in as many replayed episodes as it was
    in.
    """
    import torch

    from worldrl.recipes.demonstrations import OWN
    from worldrl.world_model.judges import RANGE, highest

    mine = [i for i in known if own.tokens.policies[i] in OWN] or known
    rng = torch.Generator().manual_seed(seed + 2)
    most = highest(model, own.tokens.subset(mine), rng, lambda out: judge(out.obs, states).sigmoid())
    came = np.stack([own.holds[i][1:].any(axis=0) for i in mine])
    borders = torch.full((len(states),), 0.5)
    for k, share in enumerate(came.mean(axis=0).tolist()):
        if 0.0 < share < 1.0:
            borders[k] = most[:, k].quantile(1.0 - share).clamp(*RANGE)
    return borders


def _firsts(holds: Array) -> Array:
    """Return after how many steps each state first came about ``(k,)``, -1 where it never did."""
    later = holds[1:]
    return np.where(later.any(axis=0), later.argmax(axis=0) + 1, -1)
