"""Learn a baseline from the same recorded episodes as the cloned policy: Diffusion Policy, TD3+BC or IQL."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.facts import tell
from worldrl.recipes.boards import check_boards
from worldrl.recipes.demonstrations import demonstrations
from worldrl.recipes.options import check_keep_every, check_positive, option
from worldrl.recipes.parts import encoder_name, need, pipeline_at, tokens_of, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.stages import keeping, kept_beside
from worldrl.recipes.telling import Training, lessons, say

METHODS = ("diffusion_policy", "td3_bc", "iql")


@dataclass
class DiffusionOptions:
    """Options of Diffusion Policy."""

    horizon: int = option(8, "actions planned")
    execute: int = option(4, "actions taken of each plan")
    past: int = option(2, "observations looked at")


@dataclass
class Td3BcOptions:
    """Options of TD3+BC."""

    alpha: float = option(2.5, "weight of the critic against the cloning term")
    gamma: float = option(0.97, "discount")


@dataclass
class IqlOptions:
    """Options of IQL."""

    expectile: float = option(0.7, "0.5 values the mean of what was done, near 1 the best of it")
    temperature: float = option(3.0, "how much better actions are preferred, by their advantage in steps")
    gamma: float = option(0.97, "discount")


@dataclass
class Config:
    """Options of ``worldrl offline``."""

    episodes: str = option(
        MISSING, "folder of the data set; its experts' successes for diffusion_policy, else all of it"
    )
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "folder of the policy")
    features: str = option("", "folder of the feature cache; empty for none")
    method: str = option(MISSING, f"one of {', '.join(METHODS)}")
    steps: int = option(10_000, "gradient steps")
    batch_size: int = option(256, "rows a step")
    lr: float = option(3e-4, "learning rate")
    proprio: int = option(0, "how many numbers of proprioception the policy is shown, the first ones; 0 for all")
    diffusion_policy: DiffusionOptions = field(default_factory=DiffusionOptions)
    td3_bc: Td3BcOptions = field(default_factory=Td3BcOptions)
    iql: IqlOptions = field(default_factory=IqlOptions)
    keep_every: int = option(1000, "gradient steps after which an interrupted training is kept, to go on; 0 for never")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seed: int = option(0, "of weights, batches and noise")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range; each method refuses its own before anything is read."""
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{self.method}'.")
        check_boards(self)
        check_positive(steps=self.steps, batch_size=self.batch_size, lr=self.lr)
        check_keep_every(self.keep_every)


def run(config: Config) -> Result:
    """Fit the policy and save it."""
    import torch

    from worldrl.agents.policy import Origin
    from worldrl.data.dataset import Dataset

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    cache = Path(config.features) if config.features else None
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        torch.manual_seed(config.seed)
        learn = learn_from_demonstrations if config.method == "diffusion_policy" else learn_from_everything
        with kept_beside(config.out, every=config.keep_every), lessons(config, "offline") as told:
            policy, loss, steps, episodes = learn(config, dataset, pipeline, told.training(config.method))
            policy.save_pretrained(Path(config.out), origin=Origin(pipeline.hash, steps))
            tell(
                Path(config.out), task=dataset.manifest.env_id, masks=pipeline.masks, encoder=encoder_name(pipeline),
                episodes=episodes,
            )  # fmt: skip
    say(f"learnt {config.out}: {config.method}, {steps} steps of {config.episodes}, loss {loss:.4f}")
    return Result("", {"out": config.out, "method": config.method, "steps": steps, "loss": loss})


def learn_from_demonstrations(
    config: Config, dataset: Any, pipeline: Any, training: Training
) -> tuple[Any, float, int, int]:
    """Return a diffusion policy, its loss, and the steps and episodes it learnt from."""
    from worldrl.agents.diffusion_cloning import Windows, clone_chunks
    from worldrl.agents.diffusion_policy import DiffusionPolicy

    shape = {"proprio": config.proprio} | asdict(config.diffusion_policy)
    policy = DiffusionPolicy(pipeline.shape, dataset[0].acts.shape[1], **shape)
    tokens = tokens_of(demonstrations(dataset, folder=config.episodes), pipeline)
    windows = Windows.of(tokens.obs, tokens.acts, past=policy.past, horizon=policy.horizon)
    loss = clone_chunks(
        policy,
        windows,
        steps=config.steps,
        batch_size=config.batch_size,
        lr=config.lr,
        seed=config.seed,
        **keeping(config, training, pipeline=pipeline.hash, episodes=dataset.identity()),
    )
    return policy, loss, len(windows), len(tokens)


def learn_from_everything(
    config: Config, dataset: Any, pipeline: Any, training: Training
) -> tuple[Any, float, int, int]:
    """Return the policy of an offline learner, the loss of its critic, and the steps and episodes it learnt from."""
    from worldrl.agents.iql import Iql
    from worldrl.agents.policy import make_policy
    from worldrl.agents.td3_bc import Td3Bc
    from worldrl.agents.transitions import Experience, learn

    policy = make_policy(pipeline.shape, dataset[0].acts.shape[1], proprio=config.proprio)
    common: dict[str, Any] = {"lr": config.lr, "seed": config.seed}
    learner: Td3Bc | Iql = (
        Td3Bc(policy, **asdict(config.td3_bc), **common)
        if config.method == "td3_bc"
        else Iql(policy, **asdict(config.iql), **common)
    )
    dataset.require("success", by=config.method)
    tokens = tokens_of(dataset, pipeline)
    experience = Experience.of(tokens.obs, tokens.acts, tokens.success)
    loss = learn(
        learner,
        experience,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        **keeping(config, training, pipeline=pipeline.hash, episodes=dataset.identity()),
    )
    policy.set_training_mode(False)
    return policy, loss, len(experience), len(tokens)
