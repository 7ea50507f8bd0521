"""Recorded episodes in the forms that a world model is held against: equal segments, and replays."""

import numpy as np
import torch
from torch import Tensor

from worldrl.data.segments import SegmentSampler
from worldrl.evaluation.fidelity import Replay, open_loop
from worldrl.types import WorldModel
from worldrl.world_model.tokens import Tokens


def segments(tokens: Tokens, *, history: int, horizon: int) -> tuple[Tensor, Tensor] | None:
    """Cut episodes into segments that do not overlap, to be rolled out for ``horizon`` steps.

    Where a history reaches back before its episode, the first observation stands in, with zero actions, as in training.

    Returns:
        ``obs`` ``(b, history + horizon, *o)`` and ``acts`` ``(b, history - 1 + horizon, a)``, as ``rollout_error`` has
        them; None where no episode is long enough.
    """
    places = segment_places(tokens, horizon=horizon)
    if not places:
        return None
    window = np.arange(1 - history, horizon + 1)
    obs = np.stack([np.asarray(tokens.obs[i])[np.maximum(at + window, 0)] for i, at in places])
    acts = np.stack([np.asarray(tokens.acts[i])[np.maximum(at + window[:-1], 0)] for i, at in places])
    before = np.stack([at + window[:-1] < 0 for _, at in places])
    acts[before] = 0
    return torch.from_numpy(obs).float(), torch.from_numpy(acts).float()


@torch.no_grad()
def imagined_segments(
    model: WorldModel, tokens: Tokens, *, horizon: int, seed: int = 0
) -> tuple[Tensor, Tensor] | None:
    """Imagine such segments under their recorded actions.

    Returns:
        What was recorded ``(b, history + horizon, *o)``, and what is imagined of the last ``horizon`` of these
        ``(b, horizon, *o)``; None where no episode is long enough.
    """
    cut = segments(tokens, history=model.history, horizon=horizon)
    if cut is None:
        return None
    obs, acts = cut
    rng = torch.Generator().manual_seed(seed)
    dreams = open_loop(model, obs[:, : model.history], acts, rng)
    return obs, torch.stack([step.obs for step in dreams], dim=1)


def segment_places(tokens: Tokens, *, horizon: int) -> list[tuple[int, int]]:
    """Return of each segment its episode and the step it begins at."""
    return [(i, at) for i, acts in enumerate(tokens.acts) for at in range(0, len(acts) - horizon + 1, horizon)]


def replay_of(tokens: Tokens, *, history: int) -> Replay:
    """Return episodes from their first observation on, to be acted out in imagination."""
    starts = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=history, seed=0).starts()
    steps = [len(acts) for acts in tokens.acts]
    acts = torch.zeros(len(tokens), max(steps), tokens.acts[0].shape[1])
    for i, one in enumerate(tokens.acts):
        acts[i, : len(one)] = torch.as_tensor(one)
    return Replay(starts, acts, torch.tensor(steps))


@torch.no_grad()
def acted_out(model: WorldModel, replay: Replay, *, seed: int = 0) -> list[Tensor]:
    """Return what imagination shows under the recorded actions: of each episode ``(t_i, *o)``, from its second on."""
    rng, acts = torch.Generator().manual_seed(seed), torch.cat([replay.starts.acts, replay.acts], dim=1)
    seen = torch.stack([step.obs for step in open_loop(model, replay.starts.obs, acts, rng)], dim=1)
    steps = [seen.shape[1]] * len(seen) if replay.steps is None else replay.steps.tolist()
    return [one[:count] for one, count in zip(seen, steps, strict=True)]
