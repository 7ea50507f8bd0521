"""ConSE is a mean of what a picture's likeliest classes are called; the names come from a file that is pinned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders import load_encoder
from worldrl.encoders.convert import read_imagenet_names
from worldrl.encoders.efficientnet import EfficientNetLite0
from worldrl.encoders.frozen import Encoder, seeded
from worldrl.encoders.vit import DinoV2
from worldrl.encoders.weights import converted_folder
from worldrl.errors import ConfigError
from worldrl.language import conse
from worldrl.language.conse import ConSE, imagenet_names

CLASSES = ["cup", "apple", *(["photo"] * 998)]


class Sentences(nn.Module):
    """A text encoder for which a text is how often it says the first eight letters."""

    width = 8

    def forward(self, texts: Sequence[str]) -> Tensor:
        counts = [[float(text.count(letter)) for letter in "abcdefgh"] for text in texts]
        return F.normalize(torch.tensor(counts), dim=-1)


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    return Sentences()


@pytest.fixture(scope="module")
def classifier() -> Encoder:
    """An encoder that takes everything for class 1 three times as often as for class 0, and for nothing else."""
    encoder = load_encoder("efficientnet_lite0", random_init=True)
    assert isinstance(encoder, Encoder) and isinstance(encoder.backbone, EfficientNetLite0)
    with torch.no_grad():
        nn.init.zeros_(encoder.backbone.fc.weight)
        encoder.backbone.fc.bias.fill_(-100.0)
        encoder.backbone.fc.bias[:2] = torch.tensor([0.25, 0.75]).log()
    return encoder


def test_a_picture_is_the_mean_of_what_its_classes_are_called(classifier: Encoder, sentences: Sentences) -> None:
    pair = ConSE(classifier, sentences, CLASSES, top=2)
    cup, apple = sentences(["a photo of a cup", "a photo of an apple"])
    found = pair.images(np.zeros((1, 48, 64, 3), np.uint8))  # of any size
    assert torch.allclose(found[0], F.normalize(0.25 * cup + 0.75 * apple, dim=0), atol=1e-5)
    only = ConSE(classifier, sentences, CLASSES, top=1).images(np.zeros((1, 48, 64, 3), np.uint8))
    assert torch.allclose(only[0], apple, atol=1e-5)
    assert torch.equal(pair.texts(["a photo of a cup"])[0], sentences(["a photo of a cup"])[0])
    pair.train()
    assert not pair.training and not any(weight.requires_grad for weight in pair.parameters())


def test_what_conse_cannot_do_is_refused(classifier: Encoder, sentences: Sentences) -> None:
    with pytest.raises(ConfigError, match=r"classes must be 1000 names and top in \[1, 1000\], got 2 names and 10"):
        ConSE(classifier, sentences, CLASSES[:2])
    with pytest.raises(ConfigError, match="got 1000 names and 0"):
        ConSE(classifier, sentences, CLASSES, top=0)
    with pytest.raises(ConfigError, match="context must be None for ConSE"):
        ConSE(classifier, sentences, CLASSES).texts(["a cup"], context=torch.zeros(1, 8))
    with pytest.raises(ConfigError, match="classifier must be efficientnet_lite0, got toy"):
        ConSE(Encoder(seeded(DinoV2, 0), name="toy"), sentences, CLASSES)


def test_the_names_of_classes_are_the_first_word_of_each_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n1\tcrane\nn2\ttench, Tinca tinca\nn3\tnot of the thousand\n")
    (tmp_path / "imagenet_synsets.txt").write_text("n2\nn1\n")
    names = read_imagenet_names(tmp_path / "words.txt")["names"]
    assert names.numpy().tobytes() == b"tench\ncrane"


@pytest.mark.weights
def test_the_thousand_names_are_loaded_with_the_classifier_that_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    if not converted_folder("imagenet_names").is_dir():
        pytest.skip("names are not here: worldrl encoders install imagenet_names")
    names = imagenet_names()
    assert (len(names), names[0], names[504]) == (1000, "tench", "coffee mug")
    monkeypatch.setattr(conse, "load_text_encoder", lambda name: Sentences())
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert torch.allclose(conse.load_conse().images(noise).norm(dim=1), torch.ones(2), atol=1e-5)
