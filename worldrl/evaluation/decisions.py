"""Whether imagination decides as reality does which actions succeed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from worldrl.data.replay import succeeds
from worldrl.data.rollout import AnyEnv
from worldrl.evaluation.fidelity import Replay, judged_successful
from worldrl.evaluation.intervals import Interval, wilson
from worldrl.types import Array, Episode, ImaginedRun, Starts, WorldModel


@dataclass(frozen=True)
class Share:
    """``count`` of ``trials`` with its 95 % Wilson interval, which is None where there were no trials."""

    count: int
    trials: int
    interval: Interval | None

    @classmethod
    def of(cls, flags: Iterable[bool]) -> Self:
        """Count what is true."""
        values = [bool(flag) for flag in flags]
        return cls(sum(values), len(values), wilson(sum(values), len(values)) if values else None)

    @property
    def share(self) -> float | None:
        """The share in ``[0, 1]``; None where there were no trials."""
        return self.count / self.trials if self.trials else None


def false_success(env: AnyEnv, episodes: Sequence[Episode], run: ImaginedRun, *, slack: int = 0) -> Share:
    """Return the share of imagined successes that fail when the same actions are taken in MuJoCo.

    A success at any step up to the imagined one counts as real, even if it was sooner than imagined. The simulator's
    state is restored and its physics alone is asked: neither encoder nor classifier has a say. The replay is open loop:
    a policy that would have mended its ways on seeing where it really was counts as failing, too.

    Args:
        env: The environment that the episodes were recorded in.
        episodes: Imagined episode ``i`` started from the first observation of ``episodes[i]``.
        run: What the policy did in imagination.
        slack: Further steps in which a late success still counts; the last action is held in them.

    Raises:
        ValueError: If episodes and run are not as many, or ``slack`` is negative.
        DataError: If an episode has no simulator states.
    """
    if len(episodes) != len(run):
        raise ValueError(f"episodes must be one for each of the {len(run)} starts, got {len(episodes)}.")
    if slack < 0:
        raise ValueError(f"slack must be at least 0, got {slack}.")
    wins = np.flatnonzero(run.success).tolist()
    return Share.of(not succeeds(env, episodes[i], _held(run.acts[i, : run.lengths[i]], slack)) for i in wins)


def repeatable(
    model: WorldModel, starts: Starts, run: ImaginedRun, *, times: int = 12, share: float = 0.9, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Return which imagined successes ``(n,)`` happen again when their actions alone are imagined again.

    Success that needs one course of chance (which member of the ensemble answered which step) is success on what the
    members do not agree on. Nothing real is asked. A world without chance repeats everything (our choice: of 2,471
    imagined successes on six Meta-World tasks, 42 % fail in MuJoCo, and 27 % of the 870 that repeat).

    Args:
        model: That imagined them.
        starts: Those of the run.
        run: What a policy did from them.
        times: How often each is imagined again.
        share: Of these times, how many must succeed again.
        seed: Of the chance.

    Raises:
        ValueError: If starts and run are not as many, ``times`` is less than one or ``share`` not in ``[0, 1]``.
    """
    if len(starts) != len(run):
        raise ValueError(f"starts must be one for each of the {len(run)} episodes, got {len(starts)}.")
    if times < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"times must be at least 1 and share in [0, 1], got {times} and {share}.")
    found = np.zeros(len(run), np.bool_)
    wins = np.flatnonzero(run.success)
    if not len(wins):
        return found
    device, rows = starts.obs.device, torch.as_tensor(wins, device=starts.obs.device)
    acts, steps = (torch.as_tensor(one[wins], device=device) for one in (run.acts, run.lengths))
    replay = Replay(Starts(starts.obs[rows], starts.acts[rows]), acts, steps)
    seeds = np.random.SeedSequence(seed).generate_state(times)
    again = torch.stack([judged_successful(model, replay, seed=int(one)) for one in seeds]).double().mean(dim=0)
    found[wins] = again.cpu().numpy() >= share
    return found


def missed_success(model: WorldModel, succeeded: Replay, *, seed: int = 0) -> Share:
    """Return the share of real successes that imagination, fed the recorded actions, does not see as such.

    Raises:
        ValueError: If the replay is empty or of the wrong shape.
    """
    return Share.of((~judged_successful(model, succeeded, seed=seed)).tolist())


def failed_replay(model: WorldModel, failed: Replay, *, seed: int = 0) -> Share:
    """Return the share of real failures that imagination, fed the recorded actions, takes for successes.

    Raises:
        ValueError: If the replay is empty or of the wrong shape.
    """
    return Share.of(judged_successful(model, failed, seed=seed).tolist())


def _held(acts: Array, slack: int) -> Array:
    """Return actions ``(k, a)`` with the last one held for ``slack`` more steps."""
    return np.concatenate([acts, acts[-1:].repeat(slack, axis=0)])
