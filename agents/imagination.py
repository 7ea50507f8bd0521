"""A policy let loose in imagination, and what it did there."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from worldrl.types import Array, ImaginedRun, Policy


def imagine_run(env: VectorEnv[Any, Any, Any], policy: Policy, *, seed: int, deterministic: bool = True) -> ImaginedRun:
    """Let a policy act in imagination, environment ``i`` from start ``i``, until every episode has ended once.

    Args:
        env: An imagined environment in ``SAME_STEP`` mode, with one environment a start.
        policy: Chooses the actions, which are clipped to ``[-1, 1]``.
        seed: Of the imagination and of sampled actions: policies that run under one seed meet the same chances.
        deterministic: Whether to take the policy's best action rather than a sample. Samples are drawn for all
            environments at once, so that those of one depend on how many there are.
    """
    count = env.num_envs
    obs, _ = env.reset(seed=seed, options={"start": np.arange(count)})
    success, halted, agreed, over = (np.zeros(count, bool) for _ in range(4))
    lengths, state, begins = np.zeros(count, np.int64), None, np.ones(count, bool)
    acts: list[Array] = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        while not over.all():
            act, state = policy.predict(obs, state, episode_start=begins, deterministic=deterministic)
            acts.append(np.where(over[:, None], 0.0, np.clip(act, -1.0, 1.0)).astype(np.float32))
            obs, _, end, trunc, info = env.step(np.clip(act, -1.0, 1.0))
            lengths[~over] += 1
            begins = end | trunc
            fresh = begins & ~over
            if fresh.any():
                success[fresh] = info["final_info"]["success"][fresh]
                halted[fresh] = info["final_info"]["halted"][fresh]
                agreed[fresh] = info["final_info"]["agreed"][fresh]
            over |= fresh
    return ImaginedRun(np.stack(acts, axis=1), lengths, success, halted, agreed)
