"""Objects taken away, swapped and blurred out: what of the observation changes, and what does not."""

from typing import Any

import numpy as np
import pytest

from worldrl.errors import ConfigError
from worldrl.objects.disturbed import DisturbedPipeline
from worldrl.observation import ObservationPipeline


@pytest.fixture
def scene() -> tuple[ObservationPipeline, tuple[Any, Any, Any]]:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 16, 16), np.uint8)
    for i, (row, column) in enumerate(rng.integers(0, 8, (60, 2))):
        labels[i, row : row + 3, column : column + 4] = 1
        labels[i, 15 - column, 15 - row] = 2
    labels[::5] = 0
    frames = np.zeros((60, 16, 16, 3), np.uint8)
    seen = (frames, rng.normal(size=(60, 4)).astype(np.float32), labels)
    return ObservationPipeline.fit(*seen, objects=("cup", "bead"), masks="simulator", encoder=None), seen


def test_a_missing_object_is_as_one_that_is_not_seen(scene: tuple[ObservationPipeline, Any]) -> None:
    pipeline, (frames, proprio, labels) = scene
    without = np.where(labels == 2, 0, labels).astype(np.uint8)
    found = DisturbedPipeline(pipeline, kind="missing", objects=("bead",))(frames, proprio, labels)
    assert np.allclose(found, pipeline(frames, proprio, without), atol=1e-5)


def test_swapped_objects_stand_in_each_others_place(scene: tuple[ObservationPipeline, Any]) -> None:
    pipeline, seen = scene
    found, whole = DisturbedPipeline(pipeline, kind="swapped", objects=("cup", "bead"))(*seen), pipeline(*seen)
    assert np.array_equal(found, whole[:, [0, 2, 1]])


def test_a_share_of_the_numbers_of_objects_is_dropped(scene: tuple[ObservationPipeline, Any]) -> None:
    pipeline, seen = scene
    found, whole = DisturbedPipeline(pipeline, kind="dropped", share=0.3, seed=1)(*seen), pipeline(*seen)
    assert np.array_equal(found[:, 0], whole[:, 0])
    changed = (found != whole)[:, 1:][whole[:, 1:] != 0]
    assert changed.mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "lost"}, "kind must be one of nothing, missing, swapped, dropped, got 'lost'"),
        ({"kind": "missing", "objects": ("lid",)}, "objects must be among cup, bead, got 'lid'"),
        ({"kind": "swapped", "objects": ("cup",)}, "'swapped' needs 2 objects, got 1"),
        ({"kind": "dropped", "share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
    ],
)
def test_a_wrong_disturbance_is_refused(scene: tuple[ObservationPipeline, Any], wrong: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DisturbedPipeline(scene[0], **wrong)
