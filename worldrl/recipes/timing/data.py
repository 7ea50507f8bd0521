"""Rows of training from flat files: how fast, and how much memory, for data sets of several sizes."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from worldrl.errors import ConfigError
from worldrl.recipes.timing.rate import Row, rate

LENGTH, ACTS, HISTORY, BATCH = 50, 4, 4, 256
"""Transitions of the made-up episodes, their actions, and the windows that are drawn of them."""
LIMIT_S = 240.0
"""Seconds after which one size is given up."""


def kept(obs_shape: tuple[int, ...], transitions: int, *, seconds: float) -> list[Row]:
    """Time windows and training of the default token model on so many transitions, in a process of its own.

    Raises:
        ConfigError: If the process fails or takes longer than four minutes.
    """
    words = [sys.executable, "-m", __name__, json.dumps(obs_shape), str(transitions), str(seconds)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except subprocess.SubprocessError as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise ConfigError(f"training from {transitions:,} transitions could not be timed: {told}") from error
    found = json.loads(done.stdout.splitlines()[-1])
    name = f"{transitions:,} transitions in files"
    return [
        Row("data in files", f"windows, {name}", found["windows"], "windows", BATCH, memory_mb=found["windows_mb"]),
        Row("data in files", f"fit_dynamics, {name}", found["samples"], "samples", BATCH, memory_mb=found["fit_mb"]),
    ]


def _time(obs_shape: tuple[int, ...], transitions: int, seconds: float) -> dict[str, float]:
    import time

    import torch

    from worldrl.data.segments import SegmentSampler
    from worldrl.evaluation.memory import peak_memory_gb
    from worldrl.world_model.fit import fit_dynamics
    from worldrl.world_model.model import DiffusionWorldModel
    from worldrl.world_model.tokens import keep_tokens, kept_tokens

    def episodes() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, str]]:
        rng = np.random.default_rng(0)
        for _ in range(transitions // LENGTH):
            obs = rng.standard_normal((LENGTH + 1, *obs_shape), dtype=np.float32)
            yield obs, rng.uniform(-1, 1, (LENGTH, ACTS)).astype(np.float32), np.zeros(LENGTH + 1, bool), "policy"

    with tempfile.TemporaryDirectory() as folder:
        keep_tokens(Path(folder) / "tokens", episodes(), about={}, visual=0)
        tokens = kept_tokens(Path(folder) / "tokens", about={})
        assert tokens is not None
        sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=HISTORY, seed=0)
        windows = BATCH * rate(lambda: sampler.sample(BATCH), seconds)
        windows_mb = 1000 * peak_memory_gb(own=True)
        torch.manual_seed(0)
        model, at = DiffusionWorldModel(obs_shape=obs_shape, act_dim=ACTS, history=HISTORY), list[float]()
        fit_dynamics(
            [model], [tokens], steps=60, batch_size=BATCH, progress=lambda _, __: at.append(time.perf_counter())
        )
    fit_mb = 1000 * peak_memory_gb(own=True)
    samples = BATCH / float(np.median(np.diff(at)))
    return {"windows": windows, "windows_mb": windows_mb, "samples": samples, "fit_mb": fit_mb}


if __name__ == "__main__":
    print(json.dumps(_time(tuple(json.loads(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]))))
