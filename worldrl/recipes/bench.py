"""Time what decides how long everything takes, on this machine, as it is now."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from worldrl.recipes.options import (
    EncoderOptions,
    EnvOptions,
    WorldModelOptions,
    check_positive,
    check_world_model,
    option,
)
from worldrl.recipes.parts import make_env, need, use_threads


@dataclass
class Config:
    """Options of ``worldrl bench``."""

    world: str = option("", "folder of a world; empty for an untrained model of the default shape")
    env: EnvOptions = field(default_factory=EnvOptions)
    world_model: WorldModelOptions = field(default_factory=WorldModelOptions)
    batch: int = option(64, "imagined environments side by side")
    tokens: int = option(6, "tokens of the untrained model")
    features: int = option(42, "numbers a token of the untrained model")
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    seconds: float = option(5.0, "how long each thing is timed, at least")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        from worldrl.encoders import patch_of
        from worldrl.encoders.tokens import check_tokens

        check_positive(batch=self.batch, seconds=self.seconds, tokens=self.tokens, features=self.features)
        check_world_model(self.world_model)
        if self.encoder.name != "none":
            patch_of(self.encoder.name, self.encoder.layer)
            check_tokens(self.encoder.keep, self.encoder.merge)


def run(config: Config) -> str:
    """Return the table of what was timed."""
    import torch

    from worldrl.recipes.table import table

    use_threads(config.threads)
    rows = [_imagined(config), *_real(config)]
    if config.encoder.name != "none":
        rows.append(_encoder(config))
    head = [("what", "rate", "detail")]
    return f"{torch.get_num_threads()} threads\n" + table([*head, *rows])


def rate(call: Callable[[], Any], seconds: float) -> float:
    """Return calls a second, after three that are not counted."""
    for _ in range(3):
        call()
    began, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        call()
        calls += 1
    return calls / spent


def _imagined(config: Config) -> tuple[str, str, str]:
    import torch

    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.types import Starts
    from worldrl.world_model.model import DiffusionWorldModel, sizes
    from worldrl.world_model.world import World

    if config.world:
        world = World.from_pretrained(need(config.world, "world"))
        model, starts, horizon = world.model, world.starts, world.horizon
    else:
        shape, options = (config.tokens, config.features), config.world_model
        model = DiffusionWorldModel(
            obs_shape=shape, act_dim=4, history=options.history, steps=options.steps,
            net=sizes(shape, options.backbone)[options.size], action_code=options.action_code,
        ).freeze()  # fmt: skip
        model.halt_threshold = 10.0
        starts, horizon = Starts(torch.zeros(8, model.history, *shape), torch.zeros(8, model.history - 1, 4)), 40
    env = ImaginedVectorEnv(model, starts, num_envs=config.batch, horizon=horizon)
    env.reset(seed=0)
    act = np.zeros((config.batch, model.act_dim), np.float32)
    steps = config.batch * rate(lambda: env.step(act), config.seconds)
    shape_text = "x".join(map(str, model.obs_shape))
    detail = f"batch {config.batch}, observation {shape_text}, {model.steps} sampling steps, {model.members} members"
    return "imagined environment", f"{steps:,.0f} steps/s", f"{detail}, success head and halting included"


def _real(config: Config) -> list[tuple[str, str, str]]:
    rows = []
    for size in (64, int(dict(config.env.kwargs).get("size", 98))):
        env = make_env(config.env.id, dict(config.env.kwargs) | {"size": size, "max_steps": 10**9})
        env.reset(seed=0)
        act = np.zeros(env.action_space.shape, np.float32)
        picture = 1000 / rate(env.unwrapped._image, config.seconds / 4)
        step = 1000 / rate(partial(env.step, act), config.seconds / 4)
        label = 1000 / rate(env.unwrapped.labels, config.seconds / 4)
        detail = f"of which drawing {picture:.2f} ms; labels {label:.2f} ms more"
        rows.append((f"{config.env.id} at {size} px", f"{step:.2f} ms a step", detail))
        env.close()
    return rows


def _encoder(config: Config) -> tuple[str, str, str]:
    from worldrl.encoders import load_encoder

    options = config.encoder
    encoder = load_encoder(**asdict(options))
    size = 7 * encoder.patch
    frames = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)
    spent = 1000 / (32 * rate(lambda: encoder(frames), config.seconds))
    return f"{options.name} at {size} px", f"{spent:.1f} ms a frame", f"batch 32, layer {encoder.source['layer']}"
