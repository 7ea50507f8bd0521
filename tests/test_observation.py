"""One pipeline makes what policy and world model see, and says which one it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worldrl.encoders
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.observation import ObservationPipeline
from worldrl.types import Array, Features


class Colours:
    """An encoder whose patches are the mean colours of 4x4 squares."""

    name, width, patch = "colours", 3, 4

    def __init__(self, fingerprint: str = "colours-1") -> None:
        self.fingerprint, self.source = fingerprint, {"name": "colours"}

    def __call__(self, frames: Array) -> Features:
        b, h, w, _ = frames.shape
        patches = torch.from_numpy(frames.reshape(b, h // 4, 4, w // 4, 4, 3).mean(axis=(2, 4))).float()
        patches = patches.reshape(b, -1, 3)
        return Features(patches.mean(dim=1), patches, (h // 4, w // 4))


@pytest.fixture
def data() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 16, 16), np.uint8)
    for i in range(60):
        row, column = rng.integers(0, 10, 2)
        labels[i, row : row + 5, column : column + 5] = 1
        labels[i, 12:, 12:] = 2
    frames = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    return {"frames": frames, "proprio": rng.normal(size=(60, 4)).astype(np.float32), "labels": labels}


def fit(data: dict[str, Array], **changes: Any) -> ObservationPipeline:
    settings: dict[str, Any] = {"objects": ("block", "mark"), "masks": "simulator", "encoder": None, "components": 2}
    return ObservationPipeline.fit(**data, **(settings | changes))


@pytest.mark.parametrize(("masks", "encoder"), [("simulator", None), ("simulator", Colours()), ("none", Colours())])
def test_a_saved_pipeline_says_the_same_again(
    data: dict[str, Array], masks: str, encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worldrl.encoders, "load_encoder", lambda name: Colours())
    pipeline = fit(data, masks=masks, encoder=encoder)
    pipeline.save_pretrained(tmp_path / "observation")
    again = ObservationPipeline.from_pretrained(tmp_path / "observation")
    assert again.hash == pipeline.hash
    seen = pipeline(**data)
    assert seen.shape == (60, *pipeline.shape) and seen.dtype == np.float32
    np.testing.assert_array_equal(again(**data), seen)


def test_numbers_are_standardised(data: dict[str, Array]) -> None:
    seen = fit(data)(**data)
    np.testing.assert_allclose(seen[:, 0, :4].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(seen[:, 0, :4].std(axis=0), 1, atol=0.02)
    np.testing.assert_allclose(seen[:, 1, :2].std(axis=0), 1, atol=0.02)


def test_a_frame_does_not_see_its_batch(data: dict[str, Array]) -> None:
    pipeline = fit(data, encoder=Colours())
    one = pipeline(**{name: array[7:8] for name, array in data.items()})
    np.testing.assert_allclose(one[0], pipeline(**data)[7], atol=1e-5)


def test_an_object_out_of_sight_is_finite(data: dict[str, Array]) -> None:
    pipeline = fit(data, encoder=Colours())
    seen = pipeline(data["frames"][:1], data["proprio"][:1], np.zeros((1, 16, 16), np.uint8))
    assert np.isfinite(seen).all()


def test_whatever_changes_the_output_changes_the_hash(data: dict[str, Array]) -> None:
    shifted = data | {"proprio": data["proprio"] + 1}
    hashes = [
        fit(data).hash,
        fit(shifted).hash,
        fit(data, encoder=Colours()).hash,
        fit(data, encoder=Colours("colours-2")).hash,
        fit(data, encoder=Colours(), components=3).hash,
        fit(data, encoder=Colours(), masks="none", groups=3).hash,
    ]
    assert len(set(hashes)) == len(hashes)


def test_another_encoder_than_the_fitted_one_is_refused(data: dict[str, Array], tmp_path: Path) -> None:
    fit(data, encoder=Colours()).save_pretrained(tmp_path / "observation")
    with pytest.raises(CheckpointError, match="its preprocessing or the version of worldrl differ, fit it again"):
        ObservationPipeline.from_pretrained(tmp_path / "observation", encoder=Colours("colours-2"))


@pytest.mark.fault(14)
def test_what_was_made_for_another_pipeline_is_refused(data: dict[str, Array]) -> None:
    with pytest.raises(CheckpointError, match="clone was made for observation pipeline abc, this one is"):
        fit(data).require("abc", owner="clone")


def test_masks_need_labels_and_no_masks_need_an_encoder(data: dict[str, Array]) -> None:
    with pytest.raises(DataError, match="labels must be given where masks is 'simulator'"):
        fit(data)(data["frames"], data["proprio"], None)
    with pytest.raises(ConfigError, match="masks 'none' needs a frozen encoder"):
        fit(data, masks="none")
    with pytest.raises(ConfigError, match="masks must be one of simulator, few_shot, none, no_objects, got 'few'"):
        fit(data, masks="few")


@pytest.mark.fault(20)
def test_proprioception_that_is_no_number_is_refused(data: dict[str, Array]) -> None:
    broken = np.full((60, 4), np.nan, np.float32)
    with pytest.raises(DataError, match=r"proprio must be finite and \(b, 4\)"):
        fit(data)(data["frames"], broken, data["labels"])


def test_slots_without_an_object_stay_zero_and_change_nothing_else(data: dict[str, Array]) -> None:
    tight, wide = fit(data), fit(data, slots=4)
    assert tight.shape == (3, 10) and wide.shape == (5, 10) and tight.hash != wide.hash
    seen = wide(**data)
    np.testing.assert_allclose(seen[:, :3], tight(**data), atol=1e-5)
    assert not seen[:, 3:].any()


def test_objects_that_are_not_named_are_background(data: dict[str, Array], tmp_path: Path) -> None:
    whole = ObservationPipeline.fit(**data, objects=("cup", "lid"), masks="simulator", encoder=None)
    part = ObservationPipeline.fit(**data, objects=("cup", "lid"), masks="simulator", encoder=None, names=("lid",))
    assert part.objects == ("lid",) and part.labelled == ("cup", "lid")
    seen = (data["frames"], data["proprio"], data["labels"])
    assert np.allclose(part(*seen), whole(*seen)[:, [0, 2]])
    part.save_pretrained(tmp_path / "part")
    assert np.array_equal(ObservationPipeline.from_pretrained(tmp_path / "part")(*seen), part(*seen))
    assert part.hash != whole.hash


def test_a_name_that_no_object_has_is_refused(data: dict[str, Array]) -> None:
    with pytest.raises(ConfigError, match="names must be among cup, lid, got 'pot'"):
        ObservationPipeline.fit(**data, objects=("cup", "lid"), masks="simulator", encoder=None, names=("pot",))
