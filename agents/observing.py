"""What whoever acts in a real environment sees of it: raw observations through the observation pipeline."""

from typing import Any

import numpy as np

from worldrl.errors import CheckpointError
from worldrl.types import Array


def check_objects(pipeline: Any, env: Any) -> None:
    """Refuse an environment whose masks the pipeline cannot read.

    Raises:
        CheckpointError: If the environment labels other objects than the pipeline was fitted on.
    """
    if pipeline.masks == "simulator" and tuple(env.unwrapped.objects) != tuple(pipeline.labelled):
        raise CheckpointError(
            f"the observation pipeline was made for the objects {', '.join(pipeline.labelled)}, this task has "
            f"{', '.join(env.unwrapped.objects)}: use the task it was made for, or fit another."
        )


def observe(pipeline: Any, observations: list[Any], envs: list[Any]) -> Array:
    """Return what the pipeline makes ``(b, *o)`` of ``b`` raw observations, all of them encoded together."""
    frames = np.stack([obs["image"] for obs in observations])
    proprio = np.stack([obs["proprio"] for obs in observations])
    labels = None
    if pipeline.masks == "simulator":
        labels = np.stack([env.unwrapped.labels() for env in envs])
    return np.asarray(pipeline(frames, proprio, labels))
