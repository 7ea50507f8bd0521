"""Which recorded episodes are worth cloning."""

from typing import Any

from worldrl.errors import DataError

DEMONSTRATORS = ("expert", "noisy_expert", "imported")
OWN = ("policy", "drifting")
"""Who else acts, neither as an example nor at random: a policy, sampled or drifting."""


def demonstrations(dataset: Any, *, folder: str, own: bool = False) -> Any:
    """Return the successful episodes of experts.

    Args:
        dataset: A ``Dataset``.
        folder: Where it lies, for the refusal.
        own: Whether to return the policy's own successful episodes too.

    Raises:
        DataError: If there is none.
    """
    dataset.require("success", by="choosing demonstrations")
    wanted = (*DEMONSTRATORS, *OWN) if own else DEMONSTRATORS
    good = [i for i, e in enumerate(dataset) if e.policy in wanted and e.success.any()]
    if not any(dataset.policies[i] in DEMONSTRATORS for i in good):
        raise DataError(f"{folder} holds no successful episode of an expert: collect policy=noisy_expert first.")
    return dataset.subset(good)
