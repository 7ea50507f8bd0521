"""How a run of ``worldrl train`` goes on after a stop: what it is made of between two episodes, kept beside its folder.

Steps that were lived through are kept once, in folders that only grow in number; the rest, which changes, is replaced
whole. Random play is not kept: it follows from the seed and is lived through again.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from worldrl.recipes.stages import PLACES, kept_for
from worldrl.recipes.telling import say
from worldrl.recipes.training import Parts

if TYPE_CHECKING:
    from worldrl.recipes.train import Config


@dataclass
class Stretch:
    """How far a run has come: real steps, episodes after random play, evaluations on the way, losses and curves."""

    step: int
    episodes: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)


def recall(config: "Config", parts: Parts) -> Stretch | None:
    """Make a run what it was when it was kept; None if it was not.

    Raises:
        CheckpointError: If what was kept is damaged.
        ConfigError: If it is of a run with other options.
    """
    import torch

    from worldrl import checkpoint, resuming

    folder = kept_for(config.out)
    kept = resuming.find(folder / "state", _about(config)) if config.keep_every else None
    if kept is None:
        return None
    with checkpoint.described(kept.path, "this run"):
        at = Stretch(**kept.config["at"])
        while len(parts.buffer) < at.step:
            path = folder / f"steps-{len(parts.buffer)}"
            rows = checkpoint.load(path, kind=resuming.KIND).tensors
            parts.buffer.extend({name: tensor.numpy() for name, tensor in rows.items()})
        parts.learner.restore(kept)
        torch.set_rng_state(kept.tensors["torch"].clone())
    say(f"found {folder}, goes on after step {at.step} of {config.steps}")
    return at


def keep(config: "Config", parts: Parts, at: Stretch, *, last: int) -> None:
    """Keep a run between two episodes.

    Args:
        config: Its options.
        parts: What it is made of.
        at: How far it has come.
        last: The real steps after which it was kept before; those of random play if it was not.

    Raises:
        StorageError: If it cannot be kept; what was kept before stays.
    """
    import torch

    from worldrl import checkpoint, resuming

    folder = kept_for(config.out)
    if at.step > last:
        rows = {name: torch.from_numpy(values) for name, values in parts.buffer.since(last).items()}
        checkpoint.save(folder / f"steps-{last}", kind=resuming.KIND, config={}, tensors=rows)
    tensors = parts.learner.parts().tensors() | {"torch": torch.get_rng_state()}
    resuming.keep(folder / "state", _about(config), parts.learner.numbers() | {"at": asdict(at)}, tensors)


def _about(config: "Config") -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in PLACES}
