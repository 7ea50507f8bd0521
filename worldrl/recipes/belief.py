"""Whether a world is believed before a policy is refined in it: it must not contradict what was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldrl.envs.guards import Guards


@dataclass(frozen=True)
class Belief:
    """What was recorded and what is imagined of the policy that was recorded.

    Attributes:
        recorded: Success of the recorded policy; None where it was not asked for.
        imagined: Its success in imagination, exploring as it did, from the same first observations; None likewise.
        doubts: What speaks against the world, a sentence each.
    """

    recorded: float | None = None
    imagined: float | None = None
    doubts: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Return whether nothing speaks against the world."""
        return not self.doubts


def believe(
    world: Any,
    policy: Any,
    recorded: Any,
    *,
    figures: Mapping[str, Any] | None,
    slack: float,
    discern: float,
    guards: Guards,
    seed: int,
) -> Belief:
    """Ask a world what is known already (all three questions are our choice).

    Args:
        world: In which the policy would be refined.
        policy: What refinement would begin with.
        recorded: The policy that was recorded; maybe the same.
        figures: What the fit measured on episodes held out; None where it is not there.
        slack: How much more often than recorded, beyond chance, a policy may succeed in imagination; 1 for any.
        discern: Share of replayed successes that the world must find, beyond that of failures; 0 for any.
        guards: Of the imagined environment.
        seed: Of imagination.
    """
    known = Belief() if slack >= 1 else _flatters(world, recorded, slack=slack, guards=guards, seed=seed)
    doubts = [*known.doubts, *_blurs(figures or {}, discern)]
    if recorded is not policy and slack < 1:
        doubts += _belittles(world, policy, recorded, slack=slack, guards=guards, seed=seed)
    return Belief(known.recorded, known.imagined, tuple(doubts))


def _flatters(world: Any, recorded: Any, *, slack: float, guards: Guards, seed: int) -> Belief:
    """Ask whether the recorded policy succeeds more often than it was recorded to."""
    import torch

    from worldrl.agents.imagination import imagine_run
    from worldrl.agents.stopping import flatters
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.types import Starts

    rows = [i for i, outcome in enumerate(world.outcomes) if outcome is not None]
    if not rows:
        return Belief()
    index = torch.tensor(rows)
    starts = Starts(world.starts.obs[index], world.starts.acts[index])
    env = ImaginedVectorEnv(world.model, starts, num_envs=len(rows), horizon=world.horizon, guards=guards)
    imagined = float(imagine_run(env, recorded, seed=seed, deterministic=False).success.mean())
    real = float(np.mean([world.outcomes[i] for i in rows]))
    text = f"the recorded policy succeeded in {real:.2f} of {len(rows)} episodes, and in imagination in {imagined:.2f}"
    return Belief(real, imagined, (text,) if flatters(imagined, real, len(rows), slack=slack) else ())


def _blurs(figures: Mapping[str, Any], discern: float) -> list[str]:
    """Ask whether the world, fed the actions of episodes held out, cannot tell those that succeeded."""
    found, made_up = figures.get("success_recall"), figures.get("hallucinated_success")
    if not discern or found is None or made_up is None or found - made_up >= discern:
        return []
    return [
        f"of replayed episodes, the world finds {found:.2f} of the successes and takes {made_up:.2f} of the failures "
        "for successes"
    ]


def _belittles(world: Any, policy: Any, recorded: Any, *, slack: float, guards: Guards, seed: int) -> list[str]:
    """Ask whether the policy to begin with is worse than the recorded one.

    What learnt from the recorded policy's successes does not do clearly worse than it. A world that says so takes
    something for failure that is none, and refinement would unlearn it.
    """
    from worldrl.agents.refinement import try_out
    from worldrl.agents.stopping import flatters
    from worldrl.envs.imagined import ImaginedVectorEnv

    env = ImaginedVectorEnv(world.model, world.starts, num_envs=world.firsts, horizon=world.horizon, guards=guards)
    before, start = (try_out(env, one, seed=seed).success for one in (recorded, policy))
    if not flatters(before, start, world.firsts, slack=slack):
        return []
    return [
        f"imagination says that the policy to begin with ({start:.2f}) is worse than the recorded one ({before:.2f})"
    ]
