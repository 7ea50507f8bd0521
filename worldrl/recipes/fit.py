"""Fit a world model, its success classifier and its frame decoder to recorded episodes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.facts import tell_whole
from worldrl.recipes.boards import check_boards
from worldrl.recipes.demonstrations import OWN
from worldrl.recipes.fit_data import Task, task_at
from worldrl.recipes.fit_figures import heeding, measure, share
from worldrl.recipes.held_out import SHARE, check_share, few, note
from worldrl.recipes.options import (
    EngineOptions,
    WorldModelOptions,
    check_engine,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.parts import need, tasks_at, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.stages import kept_beside, stops_of
from worldrl.recipes.telling import Lessons, Training, lessons, say


@dataclass
class Config:
    """Options of ``worldrl fit``."""

    episodes: str = option(MISSING, "folder of a data set, or of one data set a task: one network then learns them all")
    observation: str = option(MISSING, "folder of the observation pipeline, or of one a task, named like the data sets")
    out: str = option(MISSING, "folder of the world, or of one a task")
    features: str = option("", "folder of the feature cache, or of one for each task; empty for none")
    tokens: str = option(
        "", "folder where observations are kept, or one for each task, rather than in memory; empty for memory"
    )
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    steps: int = option(1800, "gradient steps of the dynamics")
    distil_steps: int = option(3000, "gradient steps of a distilled sampler, where world_model.sampler is that")
    success_steps: int = option(2500, "gradient steps of the success classifier")
    price: float = option(0.03, "what an object costs that the success classifier looks at")
    audit: bool = option(
        False, "fit a second success classifier: each of the two then learns from half of the episodes"
    )
    without: list[str] = field(default_factory=list, metadata={"help": "whose episodes are left out: random, policy"})
    decoder_steps: int = option(600, "gradient steps of the decoder of object tokens; 0 for no decoder at all")
    post_steps: int = option(
        600, "gradient steps of the decoder of visual tokens on imagined ones; 0 leaves it as encode made it"
    )
    preserve: float = option(0.5, "share of the visual tokens that stay as recorded then")
    batch_size: int = option(256, "transitions a step")
    lr: float = option(2e-3, "highest learning rate")
    push: float = option(0.5, "share of the transitions whose past ends in an imagined observation")
    reach: int = option(1, "how many observations of such a past may be imagined, one after the other")
    blur: float = option(0.5, "highest noise on the past of tokens, in units of their change in a step")
    held_out: float = option(SHARE, "share of the policy's episodes kept for calibration and figures")
    engine: EngineOptions = field(default_factory=EngineOptions)
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seed: int = option(0, "of weights and batches")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_boards(self)
        check_positive(steps=self.steps, success_steps=self.success_steps, batch_size=self.batch_size)
        check_positive(distil_steps=self.distil_steps)
        check_positive(lr=self.lr, reach=self.reach)
        if self.post_steps < 0 or not 0 <= self.preserve <= 1:
            raise ConfigError(
                f"post_steps must be 0 or more and preserve in [0, 1], got {self.post_steps} and {self.preserve}."
            )
        if not 0 <= self.push <= 1 or self.blur < 0:
            raise ConfigError(f"push must be in [0, 1] and blur 0 or more, got {self.push} and {self.blur}.")
        check_share(self.held_out)
        check_world_model(self.world_model, pixels=None)
        check_engine(self.engine)


def run(config: Config) -> Result:
    """Fit, calibrate, save, and say how well each task's world predicts episodes it has not seen."""
    from worldrl.recipes.launch import launch
    from worldrl.world_model.engine import Engine, launched

    if config.engine.processes > 1 and launched() == 1:
        launch("fit", config, processes=config.engine.processes)
        return _result(config)
    use_threads(config.threads)
    options = config.engine
    engine = Engine(
        accumulate=options.accumulate, precision=options.precision, shard=options.shard, device=options.device,
        patience_s=options.patience_s,
    )  # fmt: skip
    try:
        with (
            kept_beside(config.out, every=options.keep_every if engine.rank == 0 else 0),
            lessons(config, "fit", silent=engine.rank > 0) as told,
        ):
            _fit(config, engine, told)
    finally:
        engine.close()
    return _result(config)


def _result(config: Config) -> Result:
    """Return the figures of every world that was fitted, by task; those of a single one as they are."""
    from worldrl import checkpoint

    names = tasks_at(need(config.episodes, "data set"))
    found = {name: checkpoint.read_json(Path(config.out) / name / "fidelity.json") for name in names}
    return Result("", {"out": config.out} | found.get("", found))


def _fit(config: Config, engine: Any, told: Lessons) -> None:
    """Fit the dynamics beside the other processes; the first of them judges and saves."""
    from worldrl.world_model.fit import fit_dynamics

    with engine.first():  # the others find its features in the cache
        tasks = [
            task_at(
                name, folder, observation=config.observation, features=config.features, tokens=config.tokens,
                held_out=config.held_out, without=config.without, seed=config.seed,
            )
            for name, folder in tasks_at(need(config.episodes, "data set")).items()
        ]  # fmt: skip
    if len({(task.shape, task.tokens.acts[0].shape[1]) for task in tasks}) > 1:
        found = ", ".join(f"{task.name} {task.shape}" for task in tasks)
        raise ConfigError(f"observations of all tasks must have one shape, got {found}: encode them with slots=.")
    models = [_model(config, task, index, len(tasks)) for index, task in enumerate(tasks)]
    fit_dynamics(
        models, [task.tokens.subset(task.train) for task in tasks], steps=config.steps,
        batch_size=config.batch_size, lr=config.lr, push=config.push, reach=config.reach, blur=config.blur,
        seed=config.seed, engine=engine, **_kept(config, told.training("fit dynamics"), "dynamics"),
    )  # fmt: skip
    if config.world_model.sampler == "distilled":
        models = _taught(config, tasks, models, engine, told)
    if engine.rank > 0:
        return
    for task, model in zip(tasks, models, strict=True):
        _judge(config, task, model, told)
        _save(config, task, model, told)


def _kept(config: Config, training: Training, name: str) -> dict[str, Any]:
    """Return what a function is given that takes ``stops`` and ``progress``; ``name`` is that of what is kept."""
    return {"stops": stops_of(config.out, name, config.engine.keep_every, training), "progress": training}


def _taught(config: Config, tasks: list[Task], teachers: list[Any], engine: Any, told: Lessons) -> list[Any]:
    """Return models that sample in one evaluation what these sample in all of their steps."""
    from worldrl.world_model.distil import distil, student_of

    students = [student_of(teacher) for teacher in teachers]
    distil(
        teachers, students, [task.tokens.subset(task.train) for task in tasks], steps=config.distil_steps,
        batch_size=config.batch_size, lr=config.lr / 2, push=config.push, reach=config.reach, blur=config.blur,
        seed=config.seed, engine=engine, **_kept(config, told.training("distil"), "distil"),
    )  # fmt: skip
    return students


def _model(config: Config, task: Task, index: int, count: int) -> Any:
    """Make the untrained world model of one task; the network of the first is that of all."""
    import torch

    from worldrl.world_model.model import DiffusionWorldModel, network

    torch.manual_seed(config.seed)
    return DiffusionWorldModel(
        obs_shape=task.shape,
        act_dim=task.tokens.acts[0].shape[1],
        pipeline=task.pipeline,
        history=config.world_model.history,
        steps=config.world_model.steps,
        net=network(task.shape, backbone=config.world_model.backbone, size=config.world_model.size),
        action_code=config.world_model.action_code,
        tasks=count,
        task=index,
    )


def _judge(config: Config, task: Task, model: Any, told: Lessons) -> None:
    """Fit what judges imagined observations of a task, and calibrate it on episodes held out."""
    import torch

    from worldrl.data.rows import some_rows
    from worldrl.world_model.judges import calibrate, fit_success
    from worldrl.world_model.tokens import MOST

    seen = task.tokens.subset(task.train)
    halves = [seen.subset(range(i, len(seen), 2)) for i in range(2)] if config.audit else [seen, None]
    for part, head, label in zip(halves, (model.success, model.audit), ("success", "audit"), strict=True):
        if part is None:
            head.load_state_dict(model.success.state_dict())
            continue
        fit_success(
            model, part, head=head, steps=config.success_steps, price=config.price, seed=config.seed,
            **_kept(config, told.training(_named(f"fit {label}", task)), f"{task.name}-{label}".strip("-")),
        )  # fmt: skip
    model.support.fit(torch.from_numpy(some_rows(seen.obs, MOST)), seed=config.seed)
    own = few([i for i, who in enumerate(task.tokens.policies) if who in OWN])
    held = task.tokens.subset(few(task.held))
    calibrate(model, held, replayed=task.tokens.subset(own), seed=config.seed)
    model.freeze()


def _named(what: str, task: Task) -> str:
    """Return what the training of one task is told as: beside other tasks, with the name of its own."""
    return f"{what} {task.name}".rstrip()


def _save(config: Config, task: Task, model: Any, told: Lessons) -> None:
    """Save the world of one task and say how good it is."""
    import torch

    from worldrl import checkpoint
    from worldrl.data.segments import SegmentSampler
    from worldrl.types import Starts
    from worldrl.world_model.world import World

    out, begun = Path(config.out) / task.name, few(task.train)
    seen, unseen = task.tokens.subset(begun), task.tokens.subset(few(task.held))
    sampler = SegmentSampler(seen.obs, seen.acts, seen.success, history=model.history, seed=config.seed)
    firsts, others = sampler.starts(first_only=True), sampler.starts(first_only=False, stride=3)
    figures, decoder = measure(model, unseen, seed=config.seed), None
    if config.decoder_steps and task.visual:
        decoder, figures["sharpness"] = task.visual, _sharpen(config, task, model, told)
    elif config.decoder_steps and task.places:
        decoder = _decoder(config, task, told)
    horizon = int(dict(task.dataset.manifest.env_kwargs).get("max_steps", max(task.dataset.lengths)))
    World(
        model=model,
        starts=Starts(torch.cat([firsts.obs, others.obs]), torch.cat([firsts.acts, others.acts])),
        firsts=len(firsts),
        horizon=horizon,
        task=task.dataset.manifest.env_id,
        real_steps=task.dataset.num_steps,
        wins=tuple(int(np.argmax(success)) for success in seen.success if success.any()),
        outcomes=tuple(
            bool(success.any()) if who == "policy" else None
            for success, who in zip(seen.success, seen.policies, strict=True)
        ),
        decoder=decoder,
    ).save_pretrained(out)
    tell_whole(
        out, task=task.dataset.manifest.env_id, masks=task.masks, encoder=task.encoder, episodes=len(task.train),
        real_steps=sum(int(task.dataset.lengths[i]) for i in task.train),
    )  # fmt: skip
    note(out, task.dataset, config.held_out, config.without)
    checkpoint.write_json(out / "fidelity.json", figures)
    say(
        f"world {out}, on {len(unseen)} held-out episodes: removes {100 * figures['one_step_skill']:.0f} % of the "
        f"one-step error of no change, replayed successes found {share(figures['success_recall'])}, "
        f"failures taken for successes {share(figures['hallucinated_success'])}, {heeding(figures)}"
    )


def _decoder(config: Config, task: Task, told: Lessons) -> Any:
    """Return what draws the object tokens of a task."""
    from worldrl.recipes.fit_drawing import token_decoder

    return token_decoder(
        task.tokens, task.dataset, task.train, places=task.places, steps=config.decoder_steps, seed=config.seed,
        **_kept(config, told.training(_named("fit decoder", task)), f"{task.name}-decoder".strip("-")),
    )  # fmt: skip


def _sharpen(config: Config, task: Task, model: Any, told: Lessons) -> dict[str, Any] | None:
    """Tune the decoder of visual tokens on imagined ones; return how sharp it draws before and after."""
    from worldrl.evaluation.sharpness import imagined_pairs
    from worldrl.recipes.fit_drawing import sharpen

    def pairs(index: list[int]) -> Any:
        frames = [task.dataset[i].frames for i in index]
        return imagined_pairs(model, task.tokens.subset(index), frames, seed=config.seed)

    return sharpen(
        task.visual, seen=pairs(few(task.train)), unseen=pairs(few(task.held)), steps=config.post_steps,
        preserve=config.preserve, likeness=task.tokenizer.apart, seed=config.seed,
        progress=told.training(_named("tune decoder", task)),
    )  # fmt: skip
