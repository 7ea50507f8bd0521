"""Teach a world a faster sampler, and say what that costs: rates, predictions and decisions beside its teacher's."""

import shlex
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.facts import tell_whole
from worldrl.recipes.boards import check_boards
from worldrl.recipes.config import changes
from worldrl.recipes.demonstrations import OWN
from worldrl.recipes.fidelity import decisions, judgements, load_policies, predictions
from worldrl.recipes.fidelity_table import told_share
from worldrl.recipes.held_out import check_share, few, pass_on, split_of
from worldrl.recipes.options import check_json, check_keep_every, check_positive, option
from worldrl.recipes.parts import encoder_name, make_env, need, pipeline_at, seeds_for, tokens_of, use_threads, versions
from worldrl.recipes.results import Result
from worldrl.recipes.stages import kept_beside, stops_of
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import Training, bar, lessons, say

TURNS = 7
"""Times that teacher and student are timed, one after the other."""
WITHIN = 0.02
"""How far the student's rate of false successes may be from its teacher's."""


@dataclass
class Config:
    """Options of ``worldrl distil``."""

    world: str = option(MISSING, "folder of the world whose sampler is the teacher")
    episodes: str = option(MISSING, "folder of the data set that it was fitted to")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "folder of the world with the distilled sampler")
    features: str = option("", "folder of the feature cache; empty for none")
    size: str = option("", "size of the student's network, a name of world_model.size; empty for its teacher's")
    steps: int = option(3000, "gradient steps")
    batch_size: int = option(256, "transitions a step")
    lr: float = option(1e-3, "highest learning rate")
    push: float = option(0.6, "share of the transitions whose past ends in observations that the student imagines")
    reach: int = option(8, "how many of these at most, one after the other")
    blur: float = option(0.2, "highest noise on the past, in units of its change in a step")
    held_out: float | None = option(
        None, "share of the policy's episodes that the world has not seen; null for what was noted when it was made"
    )
    policies: list[str] = field(
        default_factory=list, metadata={"help": "folders of policies, whose imagined successes are replayed in MuJoCo"}
    )
    starts: int = option(400, "new start states that these act from")
    results: str = option(
        "", "file of the figures (.json), with a table beside it; worlds that stand there stay. Empty for none"
    )
    batch: int = option(256, "imagined environments side by side, to time them")
    keep_every: int = option(500, "gradient steps after which an interrupted training is kept, to go on; 0 for never")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seconds: float = option(1.0, "how long each is timed in each of its turns, at least")
    seed: int = option(0, "of batches, start states and imagination")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(steps=self.steps, batch_size=self.batch_size, lr=self.lr, reach=self.reach, starts=self.starts)
        check_positive(batch=self.batch, seconds=self.seconds)
        if not 0 <= self.push <= 1 or self.blur < 0:
            raise ConfigError(f"push must be in [0, 1] and blur 0 or more, got {self.push} and {self.blur}.")
        check_boards(self)
        check_keep_every(self.keep_every)
        check_share(self.held_out)
        if self.results:
            check_json(Path(self.results))


def run(config: Config) -> Result:
    """Teach, calibrate, save, measure, and return the table."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset
    from worldrl.world_model.world import World

    use_threads(config.threads)
    world = World.from_pretrained(at := need(config.world, "world"))
    if world.model.sampler != "euler":
        raise ConfigError(f"world must be one that samples by Euler steps, got a distilled one: {config.world}.")
    dataset = Dataset(need(config.episodes, "data set"))
    cache = Path(config.features) if config.features else None
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        pipeline.require(world.model.pipeline, owner=config.world)
        masks, encoder = pipeline.masks, encoder_name(pipeline)
        tokens = tokens_of(dataset, pipeline)
        policies = load_policies(config.policies, pipeline)
        starts = _starts(config, dataset.manifest) if policies else []
        begun = tokens_of(starts, pipeline) if policies else None
    train, held = split_of(at, dataset, config.held_out)
    with kept_beside(config.out, every=config.keep_every), lessons(config, "distil") as lesson:
        student = _taught(config, world.model, tokens, train, held, lesson.training("distil"))
        replace(world, model=student).save_pretrained(Path(config.out))
        pass_on(at, Path(config.out), dataset, config.held_out)
        tell_whole(
            Path(config.out), task=world.task, masks=masks, encoder=encoder, episodes=len(train),
            real_steps=sum(int(dataset.lengths[i]) for i in train),
        )  # fmt: skip
        about = {"task": world.task, "seed": config.seed, "masks": masks, "starts": len(starts)}
        figures = about | _figures(config, world, student, tokens.subset(held), (starts, begun, policies), dataset)
    if not config.results:
        return Result(table({config.out: figures}), {"out": config.out} | figures)
    file = Path(config.results)
    told = (checkpoint.read_json(file) if file.exists() else {}) | {config.out: figures}
    file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(file, told)
    text = table(told)
    file.with_suffix(".md").write_text(text)
    return Result(text, {"out": config.out, "results": file} | figures)


def _figures(
    config: Config, world: Any, student: Any, unseen: Any, acting: tuple[Any, Any, Any], dataset: Any
) -> dict[str, Any]:
    """Return what teacher and student predict and decide on held-out episodes, and how fast they are."""
    starts, begun, policies = acting
    ways: dict[str, Any] = {}
    for way, model in (("teacher", world.model), ("student", student)):
        say(f"measuring the {way}")
        ways[way] = {
            "evaluations": model.evaluations,
            "parameters": sum(p.numel() for p in model.denoiser.net.parameters()),
            **predictions(model, unseen, seed=config.seed),
            **judgements(model, unseen, seed=config.seed),
            "policies": []
            if begun is None
            else decisions(
                model, starts, begun, policies, env=_real(dataset.manifest), horizon=world.horizon, seed=config.seed
            ),
        }
    return {
        "held_out": len(unseen), **ways, "rates": _rates(config, world, student),
        "command": shlex.join(["worldrl", "distil", *changes(config)]), "versions": versions(),
    }  # fmt: skip


def _taught(config: Config, teacher: Any, tokens: Any, train: list[int], held: list[int], training: Training) -> Any:
    """Return the student, taught and calibrated on the same episodes as its teacher."""
    import torch

    from worldrl.world_model.distil import distil, student_of
    from worldrl.world_model.judges import calibrate
    from worldrl.world_model.model import network

    torch.manual_seed(config.seed)
    backbone = teacher.net_args.get("backbone", "transformer")
    net = network(teacher.obs_shape, backbone=backbone, size=config.size) if config.size else None
    student = student_of(teacher, net=net)
    distil(
        [teacher], [student], [tokens.subset(train)], steps=config.steps, batch_size=config.batch_size, lr=config.lr,
        push=config.push, reach=config.reach, blur=config.blur, seed=config.seed, progress=training,
        stops=stops_of(config.out, training.label, config.keep_every, training),
    )  # fmt: skip
    own = few([i for i in sorted(train + held) if tokens.policies[i] in OWN])
    calibrate(student, tokens.subset(few(held)), replayed=tokens.subset(own), seed=config.seed)
    return student.freeze()


def _real(manifest: Any, **kwargs: Any) -> Any:
    return make_env(manifest.env_id, dict(manifest.env_kwargs) | kwargs)


def _starts(config: Config, manifest: Any) -> list[Any]:
    """Return episodes of one step each, from start states that nobody was trained on."""
    from worldrl.agents.experts import RandomActor
    from worldrl.data.rollout import roll_out

    env = _real(manifest, max_steps=1)
    seeds = seeds_for("evaluation", config.seed, config.starts)
    episodes = roll_out([env], RandomActor(), seeds=seeds, record=True, progress=bar("starts"))
    env.close()
    return episodes


def _rates(config: Config, world: Any, student: Any) -> dict[str, Any]:
    """Return environment steps a second of both, and how often as fast the student is, over turns that alternate."""
    import numpy as np

    from worldrl.recipes.timing.imagined import imagined

    turns = [
        [
            imagined(
                model, group="", name="", batch=config.batch, seconds=config.seconds, starts=world.starts,
                horizon=world.horizon, count=False,
            ).rate
            for model in (world.model, student)
        ]
        for _ in range(TURNS)
    ]  # fmt: skip
    ratios = [fast / slow for slow, fast in turns]
    slow, fast = np.median(turns, axis=0).tolist()
    return {
        "batch": config.batch, "teacher": slow, "student": fast, "ratio": float(np.median(ratios)),
        "lowest": min(ratios), "highest": max(ratios),
    }  # fmt: skip


def table(told: dict[str, Any]) -> str:
    """Return predictions and decisions of all worlds as markdown, and how far the rates of false success are apart."""
    worlds = list(told.values())
    rows = [row for one in worlds for row in _predicted(one)]
    lines = [
        "Each world by its teacher's Euler steps and by its student's one evaluation. Success thresholds of each are "
        "calibrated for itself, on the same episodes.",
        "",
        markdown(
            ("task", "seed", "sampler", "evaluations", "parameters", "env steps/s", "one-step error removed",
             "open-loop error at 10, 25, 50", "missed success", "failed replay"), rows,
        ),
        "",
    ]  # fmt: skip
    for one in worlds:
        rates = one["rates"]
        lines.append(
            f"`{one['task']}`, seed {one['seed']}, masks: {one['masks']}: the student takes {rates['ratio']:.2f} "
            f"[{rates['lowest']:.2f}, {rates['highest']:.2f}] times as many steps a second, batch {rates['batch']}, "
            "median [lowest, highest] of turns that alternate."
        )
    if any(one["teacher"]["policies"] for one in worlds):
        decided = [row for one in worlds for row in _decided(one)]
        lines += [
            "",
            "What is imagined to succeed, from new start states, and how much of it fails when the same actions are "
            "taken in MuJoCo:",
            "",
            markdown(("task", "seed", "policy", "sampler", "imagined success", "false success", "replays"), decided),
            "",
            verdict(worlds),
        ]
    return "\n".join([*lines, "", *dict.fromkeys(f"Made by `{one['command']}`." for one in worlds), ""])


def verdict(worlds: list[dict[str, Any]]) -> str:
    """Say how far the rates of false success of all worlds and policies together are apart."""
    shares = []
    for way in ("teacher", "student"):
        found = [policy["false_success"] for one in worlds for policy in one[way]["policies"]]
        shares.append((sum(one["count"] for one in found), sum(one["trials"] for one in found)))
    (was, of), (now, among) = shares
    if not of or not among:
        return "There were no imagined successes to replay."
    gap = now / among - was / of
    error = sqrt(was / of * (1 - was / of) / of + now / among * (1 - now / among) / among)
    return (
        f"All together, {100 * was / of:.1f} % of {of} imagined successes are false with the teacher and "
        f"{100 * now / among:.1f} % of {among} with the student: {100 * gap:+.1f} points, standard error "
        f"{100 * error:.1f}. Wanted is a difference of at most {100 * WITHIN:.0f} points over 1,000 replays or more."
    )


def _predicted(one: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for way in ("teacher", "student"):
        found = one[way]
        errors = ", ".join("-" if e["model"] is None else f"{e['model']:.3f}" for e in found["open_loop"])
        judged = (told_share(found[name]) for name in ("missed_success", "failed_replay"))
        rows.append(
            (
                one["task"], str(one["seed"]), way, str(found["evaluations"]), f"{found['parameters']:,}",
                f"{one['rates'][way]:,.0f}", f"{100 * found['one_step_skill']:.0f} %", errors, *judged,
            )
        )  # fmt: skip
    return rows


def _decided(one: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for index, policy in enumerate(one["teacher"]["policies"]):
        for way in ("teacher", "student"):
            found = one[way]["policies"][index]
            shares = (told_share(found[name]) for name in ("imagined_success", "false_success"))
            name = Path(policy["policy"]).name
            rows.append((one["task"], str(one["seed"]), name, way, *shares, str(found["false_success"]["trials"])))
    return rows
