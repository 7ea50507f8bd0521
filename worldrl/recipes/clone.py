"""Clone the expert's successful episodes, and if you like those of a policy itself, into a first policy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.facts import tell
from worldrl.recipes.boards import check_boards
from worldrl.recipes.demonstrations import DEMONSTRATORS, demonstrations
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.parts import encoder_name, need, pipeline_at, tokens_of, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.stages import keeping, kept_beside
from worldrl.recipes.telling import lessons, say


@dataclass
class Config:
    """Options of ``worldrl clone``."""

    episodes: str = option(MISSING, "folder of the data set; its experts' successful episodes are cloned")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "folder of the policy")
    features: str = option("", "folder of the feature cache; empty for none")
    own: float = option(0.0, "how often to draw a row of a policy's own successes, to one of an expert's; 0 for none")
    steps: int = option(1500, "gradient steps")
    batch_size: int = option(256, "rows a step")
    lr: float = option(1e-3, "learning rate")
    sigma: float = option(0.3, "standard deviation of the policy's actions")
    sigma_cap: float | None = option(1.0, "highest standard deviation that refinement may reach; null for no cap")
    proprio: int = option(0, "how many numbers of proprioception the policy is shown, the first ones; 0 for all")
    price: float = option(0.6, "price of an object that the policy looks at")
    keep_every: int = option(500, "gradient steps after which an interrupted training is kept, to go on; 0 for never")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seed: int = option(0, "of weights and batches")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_boards(self)
        check_positive(steps=self.steps, batch_size=self.batch_size, lr=self.lr, sigma=self.sigma)
        if min(self.own, self.keep_every) < 0:
            raise ConfigError(f"own and keep_every must be 0 or more, got {self.own} and {self.keep_every}.")


def run(config: Config) -> Result:
    """Fit the policy and save it."""
    import torch

    from worldrl.agents.cloning import clone
    from worldrl.agents.policy import Origin, make_policy
    from worldrl.data.dataset import Dataset

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    good = demonstrations(dataset, folder=config.episodes, own=config.own > 0)
    with pipeline_at(
        need(config.observation, "observation pipeline"), Path(config.features) if config.features else None
    ) as pipeline:
        tokens = tokens_of(good, pipeline)
        until = [int(np.argmax(success)) for success in tokens.success]  # what comes after is holding still
        weights = [1.0 if who in DEMONSTRATORS else config.own for who in tokens.policies]
        torch.manual_seed(config.seed)
        policy = make_policy(
            pipeline.shape,
            tokens.acts[0].shape[1],
            sigma=config.sigma,
            sigma_cap=config.sigma_cap,
            proprio=config.proprio,
        )
        with (
            kept_beside(config.out, every=config.keep_every),
            lessons(config, "clone") as told,
        ):
            loss = clone(
                policy,
                torch.as_tensor(np.concatenate([obs[:end] for obs, end in zip(tokens.obs, until, strict=True)])),
                torch.as_tensor(np.concatenate([acts[:end] for acts, end in zip(tokens.acts, until, strict=True)])),
                steps=config.steps,
                batch_size=config.batch_size,
                lr=config.lr,
                price=config.price,
                weights=torch.tensor(np.repeat(weights, until), dtype=torch.float32),
                seed=config.seed,
                **keeping(config, told.training("clone"), pipeline=pipeline.hash, episodes=dataset.identity()),
            )
            real_steps = sum(len(acts) for acts in tokens.acts)
            policy.save_pretrained(Path(config.out), origin=Origin(pipeline.hash, real_steps))
            tell(
                Path(config.out), task=dataset.manifest.env_id, masks=pipeline.masks, encoder=encoder_name(pipeline),
                episodes=len(good),
            )  # fmt: skip
    gates = policy.gates()
    shares = [] if gates is None else gates.gate.clamp(0, 1).tolist()
    seen = ", ".join(f"{name} {share:.2f}" for name, share in zip(pipeline.objects, shares, strict=False))
    say(f"cloned {config.out}: {len(good)} episodes, loss {loss:.3f}; it looks at: {seen or 'frames'}")
    looks = dict(zip(pipeline.objects, shares, strict=False))
    return Result("", {"out": config.out, "episodes": len(good), "steps": real_steps, "loss": loss, "looks_at": looks})
