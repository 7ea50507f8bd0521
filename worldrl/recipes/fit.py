"""Fit a world model, its success classifier and its frame decoder to recorded episodes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.parts import (
    WorldModelOptions,
    check_positive,
    check_tensorboard,
    check_world_model,
    curve,
    need,
    option,
    pipeline_at,
    say,
    tokens_of,
    use_threads,
)


@dataclass
class Config:
    """Options of ``worldrl fit``."""

    episodes: str = option(MISSING, "folder of the data set")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "folder of the world")
    features: str = option("", "folder of the feature cache; empty for none")
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    steps: int = option(1800, "gradient steps of the dynamics")
    success_steps: int = option(2500, "gradient steps of the success classifier")
    decoder_steps: int = option(600, "gradient steps of the decoder of tokens; 0 for none")
    batch_size: int = option(256, "transitions a step")
    lr: float = option(2e-3, "highest learning rate")
    held_out: float = option(0.15, "share of the policy's episodes kept for calibration and figures")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    seed: int = option(0, "of weights and batches")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_tensorboard(self.tensorboard)
        check_positive(steps=self.steps, success_steps=self.success_steps, batch_size=self.batch_size, lr=self.lr)
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must be in (0, 1), got {self.held_out}.")
        check_world_model(self.world_model)


def run(config: Config) -> None:
    """Fit, calibrate, save, and say how well the world model predicts episodes it has not seen."""
    import torch

    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset
    from worldrl.data.segments import SegmentSampler
    from worldrl.types import Starts
    from worldrl.world_model.fit import calibrate, fit_dynamics, fit_success
    from worldrl.world_model.model import DiffusionWorldModel, sizes
    from worldrl.world_model.world import World

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    cache = Path(config.features) if config.features else None
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        tokens = tokens_of(dataset, pipeline)
        places = pipeline.places() if len(pipeline.shape) == 2 else None
    train, held = split(tokens.policies, config.held_out)
    seen, unseen = tokens.subset(train), tokens.subset(held)
    torch.manual_seed(config.seed)
    model = DiffusionWorldModel(
        obs_shape=pipeline.shape,
        act_dim=tokens.acts[0].shape[1],
        pipeline=pipeline.hash,
        history=config.world_model.history,
        steps=config.world_model.steps,
        net=sizes(pipeline.shape)[config.world_model.size],
    )
    with curve("fit dynamics", config.tensorboard) as progress:
        fit_dynamics(
            model, seen, steps=config.steps, batch_size=config.batch_size, lr=config.lr, seed=config.seed,
            progress=progress,
        )  # fmt: skip
    with curve("fit success", config.tensorboard) as progress:
        fit_success(model, seen, steps=config.success_steps, seed=config.seed, progress=progress)
    calibrate(model, unseen, seed=config.seed)
    model.freeze()
    sampler = SegmentSampler(seen.obs, seen.acts, seen.success, history=model.history, seed=config.seed)
    firsts, others = sampler.starts(first_only=True), sampler.starts(first_only=False, stride=3)
    starts = Starts(torch.cat([firsts.obs, others.obs]), torch.cat([firsts.acts, others.acts]))
    horizon = int(dict(dataset.manifest.env_kwargs).get("max_steps", max(dataset.lengths)))
    decoder = _decoder(config, dataset, tokens, train, places) if config.decoder_steps and places else None
    World(
        model=model,
        starts=starts,
        firsts=len(firsts),
        horizon=horizon,
        task=dataset.manifest.env_id,
        real_steps=dataset.num_steps,
        decoder=decoder,
    ).save_pretrained(Path(config.out))
    figures = measure(model, unseen, seed=config.seed)
    checkpoint.write_json(Path(config.out) / "fidelity.json", figures)
    say(
        f"world {config.out}, on {len(held)} held-out episodes: removes {100 * figures['one_step_skill']:.0f} % of the "
        f"one-step error of no change, replayed successes found {_share(figures['success_recall'])}, "
        f"failures taken for successes {_share(figures['hallucinated_success'])}"
    )


def split(policies: Any, share: float) -> tuple[list[int], list[int]]:
    """Keep the last share of the policy's episodes (of all, if it has none) out of training."""
    mine = [i for i, policy in enumerate(policies) if policy == "policy"] or list(range(len(policies)))
    held = set(mine[-max(1, round(share * len(mine))) :])
    return [i for i in range(len(policies)) if i not in held], sorted(held)


def measure(model: Any, tokens: Any, *, seed: int) -> dict[str, Any]:
    """Return how a world model does on episodes it has not seen."""
    from worldrl.data.segments import SegmentSampler
    from worldrl.evaluation.fidelity import action_sensitivity, judged_successful, one_step_error
    from worldrl.evaluation.recorded import replay_of

    sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=seed)
    batches = [(batch.obs, batch.acts) for batch in sampler.epoch(512)]
    error = one_step_error(model, batches, seed=seed)
    figures: dict[str, Any] = {
        "one_step_skill": float(error.skill),
        "action_sensitivity": float(action_sensitivity(model, *batches[0], seed=seed)),
        "success_threshold": model.success_threshold,
        "halt_threshold": model.halt_threshold,
        "episodes": len(tokens),
    }
    for name, wanted in (("hallucinated_success", False), ("success_recall", True)):
        rows = [i for i, success in enumerate(tokens.success) if bool(success.any()) == wanted]
        judged = (
            judged_successful(model, replay_of(tokens.subset(rows), history=model.history), seed=seed) if rows else None
        )
        figures[name] = None if judged is None else float(judged.double().mean())
    return figures


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _decoder(config: Config, dataset: Any, tokens: Any, train: list[int], places: Any) -> Any:
    import torch

    from worldrl.world_model.decoder import TokenDecoder, fit_decoder

    rng = np.random.default_rng(config.seed)
    chosen = rng.permutation(train)[:120]
    torch.manual_seed(config.seed)
    decoder = TokenDecoder(obs_shape=tokens.obs[0].shape[1:])
    decoder.know(*places)
    with curve("fit decoder", config.tensorboard) as progress:
        fit_decoder(
            decoder,
            np.concatenate([tokens.obs[i] for i in chosen]),
            np.concatenate([np.asarray(dataset[int(i)].frames) for i in chosen]),
            steps=config.decoder_steps,
            seed=config.seed,
            progress=progress,
        )
    return decoder
