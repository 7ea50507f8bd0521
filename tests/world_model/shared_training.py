"""Fit a small world beside other processes: ``python FILE OUT [shard] [accumulate=N] [stops=FOLDER] [die=STEP]``."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from worldrl.resuming import Stops
from worldrl.world_model.engine import Engine
from worldrl.world_model.fit import fit_dynamics
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.tokens import Tokens


def episodes() -> Tokens:
    """Return episodes of a hand that moves as it is told."""
    rng = np.random.default_rng(0)
    obs, acts = [], []
    for _ in range(12):
        act = rng.uniform(-1, 1, (15, 2)).astype(np.float32)
        tokens = np.zeros((16, 3, 5), np.float32)
        tokens[:, 1:] = rng.normal(size=(2, 5))
        tokens[1:, 0, :2] = 0.3 * np.cumsum(act, axis=0) + 0.1 * rng.normal(size=(15, 2))
        obs.append(tokens)
        acts.append(act)
    return Tokens(obs, acts, [np.zeros(16, bool)] * 12, ["policy"] * 12)


def fit(engine: Engine, *, batch_size: int = 64, stops: Stops | None = None, die: int = 0) -> dict[str, object]:
    """Return every loss, the one told in the end, and the weights; raise KeyboardInterrupt after ``die`` steps."""
    torch.manual_seed(0)
    net = {"width": 32, "depth": 1, "heads": 2, "members": 2}
    model, losses = DiffusionWorldModel(obs_shape=(3, 5), act_dim=2, history=2, net=net), list[float]()

    def progress(step: int, loss: float) -> None:
        losses.append(loss)
        if step == die:
            raise KeyboardInterrupt

    mean = fit_dynamics(
        [model], [episodes()], steps=40, batch_size=batch_size, reach=2, engine=engine, stops=stops, progress=progress
    )
    weights = torch.cat([p.detach().flatten() for p in model.denoiser.net.parameters()])
    return {"losses": losses, "weights": weights.tolist(), "mean": mean}


if __name__ == "__main__":
    torch.set_num_threads(1)
    flags = dict(word.partition("=")[::2] for word in sys.argv[2:])
    engine = Engine(accumulate=int(flags.get("accumulate", 1)), shard="shard" in flags, patience_s=60.0)
    stops = Stops(Path(flags["stops"]), 10) if "stops" in flags else None
    found = fit(engine, stops=stops, die=int(flags.get("die", 0)))
    if engine.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    engine.close()
