"""Which recorded episodes are worth cloning."""

from typing import Any

from worldrl.errors import DataError

DEMONSTRATORS = ("expert", "noisy_expert", "imported")


def demonstrations(dataset: Any, *, folder: str) -> Any:
    """Return the successful episodes of experts.

    Args:
        dataset: A ``Dataset``.
        folder: Where it lies, for the refusal.

    Raises:
        DataError: If there is none.
    """
    good = [i for i, e in enumerate(dataset) if e.policy in DEMONSTRATORS and e.success.any()]
    if not good:
        raise DataError(f"{folder} holds no successful episode of an expert: collect policy=noisy_expert first.")
    return dataset.subset(good)
