"""The observation pipeline at its edges: what is wide, unseen, blank, foreign or real."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldrl import checkpoint
from worldrl.errors import CheckpointError, DataError
from worldrl.observation import ObservationPipeline
from worldrl.types import Array, Features


class Grey:
    """An encoder with five numbers a patch of 4x4 pixels: powers of its mean brightness."""

    name, width, patch, fingerprint, source = "grey", 5, 4, "grey-1", {"name": "grey"}

    def __call__(self, frames: Array) -> Features:
        b, h, w, _ = frames.shape
        mean = torch.from_numpy(frames.reshape(b, h // 4, 4, w // 4, 12).mean(axis=(2, 4)) / 255).float()
        patches = torch.stack([mean.reshape(b, -1) ** i for i in range(1, 6)], dim=-1)
        return Features(patches.mean(dim=1), patches, (h // 4, w // 4))


def data(*, proprio: int = 4, count: int = 40) -> dict[str, Array]:
    """Return frames with one bright square that is labelled 1; nothing is labelled 2."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
    labels = np.zeros((count, 16, 16), np.uint8)
    for i, (row, column) in enumerate(4 * rng.integers(0, 4, (count, 2))):
        frames[i, row : row + 4, column : column + 4] = rng.integers(120, 256)
        labels[i, row : row + 4, column : column + 4] = 1
    return {"frames": frames, "proprio": rng.normal(size=(count, proprio)).astype(np.float32), "labels": labels}


def fit(recorded: dict[str, Array], **changes: Any) -> ObservationPipeline:
    settings: dict[str, Any] = {"objects": ("one", "two"), "masks": "simulator", "encoder": Grey(), "components": 2}
    return ObservationPipeline.fit(**recorded, **(settings | changes))


@pytest.mark.parametrize(("encoder", "width"), [(None, 20), (Grey(), 20)])
def test_proprioception_wider_than_a_token_widens_every_token(encoder: Any, width: int) -> None:
    recorded = data(proprio=20)
    pipeline = fit(recorded, encoder=encoder)
    seen = pipeline(**recorded)
    assert seen.shape == (40, 3, width)
    np.testing.assert_allclose(seen[:, 0].std(axis=0), 1, atol=0.05)
    assert (seen[:, 1:, 12:] == 0).all()


def test_the_look_of_an_object_follows_its_brightness() -> None:
    recorded = data()
    look = fit(recorded)(**recorded)[:, 1, 10]
    brightness = [frame[label == 1].mean() for frame, label in zip(recorded["frames"], recorded["labels"], strict=True)]
    assert abs(np.corrcoef(look, brightness)[0, 1]) > 0.95


def test_an_object_that_disappears_has_no_look_and_says_that_it_is_gone() -> None:
    recorded = data()
    pipeline = fit(recorded)
    gone = recorded | {"labels": np.zeros_like(recorded["labels"])}
    before, after = pipeline(**recorded)[:, 1], pipeline(**gone)[:, 1]
    assert (after[:, 10:] == 0).all() and (before[:, 10:] != 0).any()
    assert (before[:, 7] == 0).all() and (after[:, 7] == -8).all()
    assert np.isfinite(after).all()


def test_labels_are_not_looked_at_without_masks() -> None:
    recorded = data()
    pipeline = fit(recorded, masks="none", groups=3)
    assert pipeline.objects == ("group_0", "group_1", "group_2")
    np.testing.assert_array_equal(pipeline(**recorded), pipeline(**(recorded | {"labels": None})))


def test_more_frames_than_a_chunk_are_seen_one_by_one() -> None:
    recorded = data(count=300)
    pipeline = fit(recorded)
    tail = {name: array[250:] for name, array in recorded.items()}
    np.testing.assert_allclose(pipeline(**recorded)[250:], pipeline(**tail), atol=1e-5)


def test_what_was_never_seen_is_cut() -> None:
    recorded = data()
    far = recorded | {"proprio": recorded["proprio"] + 1e6}
    seen = fit(recorded)(**far)
    assert (seen[:, 0, :4] == 8).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proprio": np.full((40, 4), np.inf, np.float32)}, "proprio must be finite"),
        ({"labels": np.zeros((40, 16, 16), np.uint8)}, "objects must be seen more than 2 times"),
        ({"labels": np.zeros((39, 16, 16), np.uint8)}, "equally many and more than 2, got 40, 40 and 39"),
    ],
)
def test_records_that_nothing_can_be_fitted_to_are_refused(change: dict[str, Array], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(data() | change)


def test_frames_without_enough_different_patches_are_refused() -> None:
    blank = data() | {"frames": np.zeros((40, 16, 16, 3), np.uint8)}
    with pytest.raises(DataError, match="patches must be at least 3 different ones"):
        fit(blank, masks="none", groups=3)


def test_a_change_of_any_fitted_tensor_changes_the_hash(tmp_path: Path) -> None:
    fit(data()).save_pretrained(tmp_path / "good")
    good = checkpoint.load(tmp_path / "good", kind="observation")
    assert set(good.tensors) == {"mean", "std", "pca", "pca_mean"}
    for name, tensor in good.tensors.items():
        changed = good.tensors | {name: tensor + 1e-3}
        checkpoint.save(tmp_path / name, kind="observation", config=good.config, tensors=changed)
        with pytest.raises(CheckpointError, match=r"was fitted as pipeline .* but loads as .*: "):
            ObservationPipeline.from_pretrained(tmp_path / name, encoder=Grey())


@pytest.mark.parametrize("key", ["masks", "objects", "proprio", "encoder", "hash"])
def test_a_config_that_lacks_something_is_refused(key: str, tmp_path: Path) -> None:
    fit(data()).save_pretrained(tmp_path / "good")
    good = checkpoint.load(tmp_path / "good", kind="observation")
    config = {name: value for name, value in good.config.items() if name != key}
    checkpoint.save(tmp_path / "bad", kind="observation", config=config, tensors=good.tensors)
    with pytest.raises(CheckpointError, match=f"does not describe an observation pipeline: KeyError.*{key}"):
        ObservationPipeline.from_pretrained(tmp_path / "bad", encoder=Grey())


@pytest.mark.weights
@pytest.mark.parametrize("settings", [{"layer": 3}, {"layer": 3, "merge": 2}])
def test_a_real_encoder_is_loaded_again_by_what_it_was_saved_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]
) -> None:
    from worldrl.encoders import load_encoder

    monkeypatch.setenv("WORLDRL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    frames, labels = np.full((6, 28, 28, 3), 90, np.uint8), np.zeros((6, 28, 28), np.uint8)
    for i in range(6):
        frames[i, 14:, 14 * (i % 2) : 14 * (i % 2) + 14] = rng.integers(0, 256, 3)
        labels[i, 14:, 14 * (i % 2) : 14 * (i % 2) + 14] = 1
    recorded = {"frames": frames, "proprio": rng.normal(size=(6, 2)).astype(np.float32), "labels": labels}
    pipeline = fit(recorded, encoder=load_encoder("dinov2_vits14", **settings), objects=("one",))
    pipeline.save_pretrained(tmp_path / "observation")
    again = ObservationPipeline.from_pretrained(tmp_path / "observation")
    assert again.hash == pipeline.hash and again.encoder is not pipeline.encoder
    np.testing.assert_allclose(again(**recorded), pipeline(**recorded), atol=1e-5)
    assert pipeline(**recorded)[:, 1, 10].std() > 0.05
