"""Cutie is shown the annotated frames before every episode, and asked about the others; here by a stub of it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from worldrl.errors import ConfigError, DataError
from worldrl.objects import Annotations
from worldrl.objects.cutie import CutieMasks, load_cutie

COLOURS = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 200]], np.uint8)


class Block(nn.Module):
    """Four queries of three numbers an object, which tell how much of the image each colour covers."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shares = torch.stack([image[0].mean(), image[2].mean()])
        return shares[:, None, None] * torch.arange(1.0, 13).reshape(1, 4, 3), image


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.object_transformer = nn.Module()
        self.object_transformer.blocks = nn.ModuleList([Block()])
        self.weight = nn.Parameter(torch.zeros(1))


class Core:
    """What is asked of Cutie: red is object 1 and blue is object 2, once it has been shown so."""

    def __init__(self) -> None:
        self.network = Network()
        self.permanent: list[Tensor] = []
        self.gathered = 0

    def clear_memory(self) -> None:
        self.permanent, self.gathered = [], 0

    def step(
        self, image: Tensor, mask: Tensor | None = None, objects: list[int] | None = None, **kwargs: Any
    ) -> Tensor:
        if mask is not None:
            assert kwargs == {"force_permanent": True} and objects == [1, 2] and mask.shape == image.shape[1:]
            self.permanent.append(mask)
            return image
        assert self.permanent
        self.gathered += 1
        self.network.object_transformer.blocks[-1](image)  # type: ignore[index, operator]
        return torch.stack([torch.full(image.shape[1:], 0.3), image[0], image[2]])

    def output_prob_to_mask(self, shares: Tensor) -> Tensor:
        return shares.argmax(dim=0)


def scene(*, box: bool = True) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    labels = np.zeros((16, 24), np.uint8)
    labels[2:8, 2:8] = 1
    labels[10:14, 12:20] = 2 * box
    return COLOURS[labels], labels


def masks() -> CutieMasks:
    frame, labels = scene()
    return CutieMasks(Annotations(np.stack([frame] * 2), np.stack([labels] * 2), ("ball", "box"), "toy"), Core())


def test_every_episode_begins_with_the_annotated_frames_alone() -> None:
    tracker = masks()
    tracker.follow(scene()[0])
    assert tracker.core.gathered == 1
    tracker.begin()
    assert tracker.core.gathered == 0 and len(tracker.core.permanent) == 2
    assert tracker.core.permanent[0].shape == (32, 48) and set(tracker.core.permanent[0].unique().tolist()) == {0, 1, 2}


def test_labels_are_of_the_frame_in_its_own_pixels() -> None:
    frame, true = scene()
    found = masks().follow(frame)
    assert found.dtype == np.uint8 and (found == true).mean() > 0.95


def test_vectors_are_the_first_half_of_the_queries_and_zero_for_what_is_away() -> None:
    tracker = masks()
    with pytest.raises(DataError, match="none was followed yet: call follow first"):
        tracker.vectors()
    tracker.follow(scene()[0])
    vectors = tracker.vectors()
    assert vectors.shape == (2, 6)
    torch.testing.assert_close(vectors / vectors[:, :1], torch.arange(1.0, 7).expand(2, 6))
    frame = scene(box=False)[0]
    frame[10, 12] = (0, 0, 60)  # not enough to be seen
    tracker.follow(frame)
    assert tracker.vectors()[0].all() and not tracker.vectors()[1].any()
    tracker.begin()
    with pytest.raises(DataError, match="none was followed yet"):
        tracker.vectors()


def test_what_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"frames must have the size of the annotated ones, \(16, 24\), got \(8, 8\)"):
        masks().follow(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="enlarged must be positive, got 0"):
        CutieMasks(masks().annotations, Core(), enlarged=0)
    with pytest.raises(ConfigError, match="size must be one of small, base, got 'huge'"):
        load_cutie(tmp_path / "w.pth", size="huge")
    monkeypatch.setitem(sys.modules, "cutie", None)
    with pytest.raises(ConfigError, match="masks by Cutie need its package: pip install git"):
        load_cutie(tmp_path / "w.pth")
