"""Few annotated frames are enough where things keep their looks, and what they cannot say is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.objects import Annotations, FewShotMasks
from worldrl.objects.fewshot import mean_iou
from worldrl.observation import ObservationPipeline
from worldrl.types import Features

Frames = npt.NDArray[np.uint8]
NAMES = ("ball", "box")
LOOKS = np.array([[90, 90, 90], [200, 40, 30], [30, 60, 200]])


def scenes(count: int, seed: int, *, alike: bool = False) -> tuple[Frames, Frames]:
    """Two squares that move over a table, in their colours (one colour if alike) and some noise."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((count, 32, 32), np.uint8)
    for one in labels:
        for label in (1, 2):
            row, column = rng.integers(0, 10, 2) + np.array([0, 16 * (label - 1)])
            one[row : row + 6, column : column + 6] = label
    looks = LOOKS[[0, 1, 1]] if alike else LOOKS
    return (looks[labels] + rng.integers(-9, 10, (count, 32, 32, 1))).astype(np.uint8), labels


def told(labels: Frames) -> Features:
    """Features on a 16x16 grid that tell the objects apart, whatever their colour."""
    coarse = torch.from_numpy(labels[:, ::2, ::2].astype(np.int64))
    patches = torch.nn.functional.one_hot(coarse, 3).float().flatten(1, 2) + 0.1
    return Features(patches.mean(dim=1), patches, (16, 16))


def annotated(count: int = 3, **changes: Any) -> Annotations:
    frames, labels = scenes(count, seed=0, **changes)
    return Annotations(frames, labels, NAMES, "worldrl/Toy-v0")


def iou(masks: FewShotMasks, *, alike: bool = False, features: bool = False) -> float:
    frames, labels = scenes(20, seed=1, alike=alike)
    found = masks(frames, told(labels) if features else None)
    return mean_iou(found, torch.from_numpy(labels.astype(np.int64)))


def test_colours_alone_find_what_has_a_colour_of_its_own() -> None:
    assert iou(FewShotMasks.fit(annotated(), None)) > 0.95
    assert iou(FewShotMasks.fit(annotated(1), None)) > 0.95


def test_features_count_where_colours_do_not_tell() -> None:
    same = annotated(alike=True)
    masks = FewShotMasks.fit(same, told(same.labels))
    assert float(masks.weight) > 0
    assert iou(masks, alike=True, features=True) > 0.7 > iou(FewShotMasks.fit(same, None), alike=True)


def test_an_object_that_is_away_is_found_nowhere() -> None:
    frames, labels = scenes(5, seed=2)
    frames[labels == 2] = LOOKS[0]
    found = FewShotMasks.fit(annotated(), None)(frames, None)
    assert (found == 2).float().mean() < 0.002 and (found == 1).any()


def test_a_frame_is_labelled_alike_whatever_is_beside_it() -> None:
    masks, (frames, _) = FewShotMasks.fit(annotated(), None), scenes(4, seed=3)
    assert torch.equal(masks(frames, None)[2], masks(frames[2:3], None)[0])


def test_iou_is_of_the_objects_that_are_shown() -> None:
    true = torch.tensor([[[1, 1, 0, 0]]])
    assert mean_iou(torch.tensor([[[1, 0, 0, 0]]]), true) == 0.5
    assert mean_iou(torch.tensor([[[1, 1, 1, 2]]]), true) == pytest.approx(2 / 3)


def test_annotations_are_kept_as_they_are(tmp_path: Path) -> None:
    annotated().save_pretrained(tmp_path / "a")
    again = Annotations.from_pretrained(tmp_path / "a")
    np.testing.assert_array_equal(again.labels, annotated().labels)
    np.testing.assert_array_equal(again.frames, annotated().frames)
    assert (again.objects, again.task, len(again)) == (NAMES, "worldrl/Toy-v0", 3)
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError):
        Annotations.from_pretrained(tmp_path / "a")


def test_what_annotations_cannot_say_is_refused() -> None:
    frames, labels = scenes(2, seed=0)
    with pytest.raises(DataError, match="every object must be seen in an annotated frame, cup are in none"):
        Annotations(frames, labels, (*NAMES, "cup"), "t")
    with pytest.raises(DataError, match="labels must be at most 1, one an object, got 2"):
        Annotations(frames, labels, NAMES[:1], "t")
    with pytest.raises(DataError, match=r"got \(2, 32, 32, 3\) and \(1, 32, 32\)"):
        Annotations(frames, labels[:1], NAMES, "t")
    with pytest.raises(DataError, match="annotations must be of worldrl/Push-v0, got worldrl/Toy-v0"):
        annotated().require(task="worldrl/Push-v0", size=(32, 32))
    with pytest.raises(DataError, match="annotations must be of frames of 64x64 pixels, got 32x32"):
        annotated().require(task="worldrl/Toy-v0", size=(64, 64))
    with pytest.raises(DataError, match="features must be 0 numbers a patch, as they were for the memory, got 3"):
        FewShotMasks.fit(annotated(), None)(frames, told(labels))


def test_a_pipeline_sees_by_what_it_was_shown(tmp_path: Path) -> None:
    frames, labels = scenes(40, seed=4)
    shared: dict[str, Any] = {"objects": NAMES, "encoder": None, "components": 2}
    proprio = np.zeros((40, 4), np.float32)
    true = ObservationPipeline.fit(frames, proprio, labels, masks="simulator", **shared)
    few = ObservationPipeline.fit(frames, proprio, labels, masks="few_shot", annotations=annotated(), **shared)
    assert (few.masks, few.objects) == ("few_shot", NAMES) and few.hash != true.hash
    np.testing.assert_allclose(few(frames, proprio, None), true(frames, proprio, labels), atol=0.5)
    few.save_pretrained(tmp_path / "o")
    again = ObservationPipeline.from_pretrained(tmp_path / "o")
    assert again.hash == few.hash
    np.testing.assert_array_equal(again(frames, proprio, None), few(frames, proprio, None))
    with pytest.raises(ConfigError, match="masks 'few_shot' and annotations go together"):
        ObservationPipeline.fit(frames, proprio, labels, masks="few_shot", **shared)
