"""A policy acting in real environments draws from the episode's seed, whatever slot it runs in."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from worldrl.agents.policy import DriftingActor, PolicyActor, make_policy
from worldrl.errors import CheckpointError
from worldrl.types import Array


class Numbers:
    """A pipeline whose observation is the proprioception, repeated; it keeps the labels it was given."""

    def __init__(self, masks: str) -> None:
        self.masks, self.labels, self.objects = masks, None, ("fingers", "ball")
        self.labelled = self.objects

    def __call__(self, frames: Any, proprio: Any, labels: Any) -> Any:
        self.labels = labels
        return np.repeat(proprio[:, None], 3, axis=1)


def make(*, deterministic: bool, masks: str = "none") -> PolicyActor:
    torch.manual_seed(0)
    return PolicyActor(make_policy((3, 4), 2), Numbers(masks), deterministic=deterministic)


def env(label: int) -> Any:
    return SimpleNamespace(unwrapped=SimpleNamespace(labels=lambda: np.full((2, 2), label, np.uint8)))


def act(actor: PolicyActor, slots: list[int], labels: list[int] | None = None) -> Array:
    seen = [{"image": np.zeros((2, 2, 3), np.uint8), "proprio": np.ones(4, np.float32)} for _ in slots]
    return actor.act(seen, [env(label) for label in labels or slots], np.array(slots))


def test_noise_follows_the_seed_and_not_the_slot() -> None:
    actor = make(deterministic=False)
    for slot, seed in ((0, 7), (1, 8), (5, 7)):
        actor.begin(slot, None, seed)
    together = act(actor, [0, 1, 5])
    np.testing.assert_array_equal(together[0], together[2])
    assert (together[0] != together[1]).all()
    later = act(actor, [0, 1, 5])
    assert (later[0] != together[0]).all()
    actor.begin(1, None, 7)
    np.testing.assert_allclose(act(actor, [1])[0], together[0], atol=1e-6)


def test_without_noise_equal_observations_get_equal_actions() -> None:
    acts = act(make(deterministic=True), [0, 1])
    np.testing.assert_array_equal(acts[0], acts[1])


@pytest.mark.parametrize("masks", ["simulator", "none"])
def test_labels_are_asked_for_only_where_the_pipeline_looks_at_them(masks: str) -> None:
    actor = make(deterministic=True, masks=masks)
    act(actor, [0, 1], labels=[3, 4])
    expected = None if masks == "none" else [3, 4]
    assert (None if actor.pipeline.labels is None else actor.pipeline.labels[:, 0, 0].tolist()) == expected


def test_noise_is_added_to_the_mean_before_clipping() -> None:
    actor = make(deterministic=False)
    with torch.no_grad():
        actor.policy.action_net.bias.fill_(50.0)
    actor.begin(0, None, 7)
    np.testing.assert_array_equal(act(actor, [0]), np.ones((1, 2), np.float32))


def test_a_task_with_other_objects_is_refused_where_their_masks_are_used() -> None:
    task = SimpleNamespace(unwrapped=SimpleNamespace(objects=("fingers", "drawer")))
    with pytest.raises(CheckpointError, match="made for the objects fingers, ball, this task has fingers, drawer"):
        make(deterministic=True, masks="simulator").begin(0, task, 0)
    make(deterministic=True, masks="none").begin(0, task, 0)


def test_a_drifting_policy_stays_off_its_way_for_a_while() -> None:
    torch.manual_seed(0)
    actor = DriftingActor(make_policy((3, 4), 2), Numbers("none"), drift=0.2)
    slots = list(range(200))
    for slot in slots:
        actor.begin(slot, None, slot % 100)
    acts = np.stack([act(actor, slots) for _ in range(3)])
    np.testing.assert_array_equal(acts[:, :100], acts[:, 100:])
    noise = acts[:, :100] - act(make(deterministic=True), slots[:100])
    assert noise.std(axis=1) == pytest.approx(0.2, rel=0.25)
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] > 0.8
