"""Visual tokens stand after the objects, or alone, and change nothing of what there was without them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldrl.encoders.tokenizer import NUMBERS
from worldrl.errors import ConfigError
from worldrl.observation import ObservationPipeline
from worldrl.types import Array, Features
from worldrl.world_model.visual import VisualDecoder


@pytest.fixture(scope="module")
def data() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    labels, frames = np.zeros((60, 64, 64), np.uint8), np.full((60, 64, 64, 3), 90, np.uint8)
    for label, frame in zip(labels, frames, strict=True):
        row, column = rng.integers(0, 40, 2)
        label[row : row + 20, column : column + 20] = 1
        frame[label == 1] = (230, 40, 40)
    return {"frames": frames, "proprio": rng.normal(size=(60, 4)).astype(np.float32), "labels": labels}


def fit(data: dict[str, Array], **changes: Any) -> ObservationPipeline:
    settings = {"objects": ("block",), "masks": "simulator", "encoder": None, "visual_steps": 3} | changes
    return ObservationPipeline.fit(**data, **settings)


def test_visual_tokens_stand_after_the_objects_and_leave_them_as_they_were(data: dict[str, Array]) -> None:
    plain, both = fit(data), fit(data, visual=4)
    assert plain.shape == (2, 10) and both.shape == (6, NUMBERS) and both.visual == 4 and plain.visual == 0
    seen = both(**data)
    np.testing.assert_allclose(seen[:, :2, :10], plain(**data), atol=1e-5)
    assert not seen[:, :2, 10:].any()
    assert seen[:, 2:].std(axis=(0, 2)).all()
    assert plain.hash != both.hash


class Colours:
    """An encoder whose patches are the mean colours of 16x16 squares."""

    name, width, patch, fingerprint, source = "colours", 3, 16, "colours-1", {"name": "colours"}

    def __call__(self, frames: Array) -> Features:
        patches = torch.from_numpy(frames.reshape(-1, 4, 16, 4, 16, 3).mean(axis=(2, 4))).float().reshape(-1, 16, 3)
        return Features(patches.mean(dim=1), patches, (4, 4))


def test_the_looks_of_objects_are_not_fitted_on_visual_tokens(data: dict[str, Array]) -> None:
    plain, both = (fit(data, encoder=Colours(), components=2, visual=visual) for visual in (0, 4))
    np.testing.assert_allclose(both(**data)[:, :2, :12], plain(**data), atol=1e-4)


def test_the_hash_of_a_pipeline_without_visual_tokens_is_what_it_was() -> None:
    tensors = {"mean": torch.zeros(2, 10), "std": torch.ones(2, 10)}
    pipeline = ObservationPipeline(masks="simulator", objects=("block",), proprio=4, encoder=None, tensors=tensors)
    assert pipeline.hash == "3098e6e15f8744fcbec1f0298130fce59b380c2ffb9263cde4fd91ef829fde6e"


def test_visual_tokens_may_be_all_there_is(data: dict[str, Array]) -> None:
    pipeline = fit(data, masks="no_objects", visual=1)
    assert pipeline.shape == (2, NUMBERS) and pipeline.objects == ()
    seen = pipeline(data["frames"], data["proprio"], None)
    assert seen[:, 1].any() and len(pipeline.places()[0]) == 0


def test_a_saved_pipeline_with_visual_tokens_says_the_same_again(data: dict[str, Array], tmp_path: Path) -> None:
    pipeline = fit(data, visual=4)
    pipeline.save_pretrained(tmp_path / "observation")
    again = ObservationPipeline.from_pretrained(tmp_path / "observation")
    assert again.hash == pipeline.hash
    np.testing.assert_array_equal(again(**data), pipeline(**data))


def test_more_steps_of_the_tokenizer_are_another_pipeline(data: dict[str, Array]) -> None:
    assert len({fit(data, visual=1, visual_steps=steps).hash for steps in (2, 3)}) == 2


def test_observations_are_drawn_as_the_tokenizer_draws_the_frame(data: dict[str, Array]) -> None:
    pipeline = fit(data, visual=4, visual_steps=5)
    assert pipeline.tokenizer is not None
    decoder = VisualDecoder.of(
        pipeline.tokenizer, obs_shape=pipeline.shape, scale=pipeline.scale(), places=pipeline.places()
    )
    drawn = decoder.decode(torch.from_numpy(pipeline(**data)))
    own = pipeline.tokenizer.decoder.decode(pipeline.tokenizer(data["frames"]))
    np.testing.assert_allclose(drawn.astype(int), own.astype(int), atol=1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"visual": 2}, "visual tokens must be one of 1, 4, 16, got 2"),
        ({"masks": "no_objects", "visual": 4, "slots": 5}, "slots=5"),
    ],
)
def test_contradictions_are_refused(data: dict[str, Array], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fit(data, **changes)


def test_nothing_but_proprioception_may_be_left(data: dict[str, Array]) -> None:
    pipeline = fit(data, masks="no_objects")
    assert pipeline.shape[0] == 1
    assert (pipeline(data["frames"], data["proprio"], None)[:, 0].std(axis=0)[: data["proprio"].shape[1]] > 0.5).all()


def test_visual_tokens_are_smaller_than_objects(data: dict[str, Array]) -> None:
    tokens = fit(data, visual=1)(data["frames"], data["proprio"], data["labels"])
    assert np.median(tokens[:, -1].std(axis=0)) <= 0.11
    assert np.median(tokens[:, 1, :2].std(axis=0)) > 0.9
