"""The studies of bridges into a language model, end to end at toy size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.checkpoint import hash_tensors
from worldrl.data.captions import questions_of
from worldrl.data.scenes import write_scenes
from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.facts import known
from worldrl.language.causal_lm import WordLM
from worldrl.language.documents import vocabulary
from worldrl.recipes.studies import bridging, class_tokens, ep_alm, language_model, limber
from worldrl.recipes.studies.stock import Need, Stock
from worldrl.scene import BASE, COLOURS, SHAPES, Camera, Scene, Thing

SMALL = {"steps": 2, "batch": 2, "scenes": 4, "told": 2}


def painted(count: int) -> Iterator[Scene]:
    """Yield scenes of two coloured squares each, the first thing on the right."""
    camera = Camera(100.0, (28.0, 28.0), np.eye(3), np.zeros(3))
    for i in range(count):
        image, instances = np.full((56, 56, 3), 90, np.uint8), np.zeros((56, 56), np.uint8)
        things = []
        for j, left in enumerate((28, 0)):
            colour, shape = BASE[(5 * i + j) % len(BASE)].split()
            image[14:42, left : left + 28] = np.round(255 * np.array(COLOURS[colour]))
            instances[14:42, left : left + 28] = j + 1
            box = np.array([left, 14, left + 28, 42], np.float32)
            things.append(Thing(shape, colour, box, np.array([0, 0, 1.0]), np.ones(3), np.eye(3), 1.0))
        depth = np.ones((56, 56), np.float32)
        yield Scene(
            image, instances, depth, tuple(things), camera, np.array([0.0, -1.0, 0.0]), ("a",), questions_of(things)
        )


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Few small scenes, and a language model that was never fitted."""
    stock = Stock(tmp_path_factory.mktemp("shared"))
    for split, count in {"train": 6, "test": 3}.items():
        write_scenes(stock.at(Need("scenes", split=split)) / "set", painted(count), meta={})
    model = seeded(lambda: WordLM(vocabulary(), width=16, depth=6, heads=2), 0)
    model.save_pretrained(stock.language_model("captions", 0))
    return stock


def run(study: Any, stock: Stock, folder: Path, **options: Any) -> dict[str, Any]:
    given = study.Options(**{**SMALL, **options})
    given.check()
    return dict(study.run(given, seed=0, stock=stock, folder=folder))


@pytest.mark.parametrize("source", ["labels", "none"])
def test_limber_says_something_of_test_scenes_and_draws_them(stock: Stock, tmp_path: Path, source: str) -> None:
    before = hash_tensors(WordLM.from_pretrained(stock.language_model("captions", 0)).state_dict())
    found = run(limber, stock, tmp_path, source=source)
    assert {"objects", "colours", "pairs", "precision", "novel_pairs", "caption_loss", "parameters"} <= set(found)
    assert all(np.isfinite(value) for value in found.values())
    assert (tmp_path / "picture.png").exists()
    assert hash_tensors(WordLM.from_pretrained(stock.language_model("captions", 0)).state_dict()) == before


def test_the_blind_arm_does_not_see(stock: Stock) -> None:
    split = bridging.patches_of("none", "test", stock=stock, seed=0)
    assert split.features.shape == (3, 1, 1) and not split.features.any()


def test_true_labels_stand_where_the_things_are(stock: Stock) -> None:
    split = bridging.patches_of("labels", "test", stock=stock, seed=0)
    thing = split.scenes.things(0)[0]  # on the right, in the middle rows
    place = 7 * 8 + 4  # last column of eight, fifth row: column by column
    assert split.features.shape == (3, 64, 16)
    assert split.features[0, place].nonzero().flatten().tolist() == [
        SHAPES.index(thing.shape), 8 + list(COLOURS).index(thing.colour),
    ]  # fmt: skip
    assert not split.features[0, 0].any()


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({"bridge": "soft"}, 16), ({"layers": 6}, 384 * 16 + 16 + 16), ({"layers": 1, "token": "mean"}, 384 * 16 + 32)],
)
def test_ep_alm_answers_questions_and_tells_scenes(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], parameters: int
) -> None:
    def made(_: Any, frames: Any, layers: Any) -> tuple[Tensor, Tensor]:
        one = torch.from_numpy(frames).float().mean(dim=(1, 2, 3))[:, None, None].expand(-1, len(layers), 384)
        return one, 2.0 * one

    monkeypatch.setattr(class_tokens, "tokens_of_layers", made)
    found = run(ep_alm, stock, tmp_path, source="random_dinov2", **options)
    assert found["parameters"] == parameters
    assert 0.0 <= found["answers"] <= 1.0 and {"what_answers", "is_answers", "count_answers"} <= set(found)


def test_tokens_of_layers_are_computed_once(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def made(_: Any, frames: Any, layers: Any) -> tuple[Tensor, Tensor]:
        calls.append(len(frames))
        return torch.zeros(len(frames), len(layers), 384), torch.ones(len(frames), len(layers), 384)

    shared = Stock(stock.folder / "elsewhere")
    write_scenes(shared.at(Need("scenes", split="test")) / "set", painted(2), meta={})
    monkeypatch.setattr(class_tokens, "tokens_of_layers", made)
    for token, value in (("class", 0.0), ("mean", 1.0)):
        found = class_tokens.read("random_dinov2", "test", stock=shared, token=token)
        assert found.shape == (2, 6, 384) and bool((found == value).all())
    assert calls == [2]
    with pytest.raises(ConfigError, match="token must be one of class, mean"):
        class_tokens.read("random_dinov2", "test", stock=shared, token="first")


def test_a_language_model_is_fitted_to_text_and_saved_frozen(tmp_path: Path, stock: Stock) -> None:
    language_model.make(tmp_path / "lm", stock=stock, what="captions", seed=0, steps=1, count=40)
    assert known(tmp_path / "lm") == {"documents": 40}
    model = WordLM.from_pretrained(tmp_path / "lm")
    assert model.is_frozen and model.read("a picture of a red cube")
    with pytest.raises(ConfigError, match="one of captions, all_captions"):
        language_model.make(tmp_path / "other", stock=stock, what="poems", seed=0)


@pytest.mark.parametrize(
    ("study", "options"),
    [
        (limber, {"source": "clip"}), (limber, {"steps": 0}), (ep_alm, {"bridge": "none"}), (ep_alm, {"layers": 7}),
        (ep_alm, {"token": "last"}), (ep_alm, {"questions": 1.0}), (ep_alm, {"source": "efficientnet"}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(study: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        study.Options(**options).check()


def test_questions_are_the_share_of_the_texts_that_is_asked_for(stock: Stock) -> None:
    scenes = stock.scenes("train")
    captions, asked = bridging.captions(scenes, range(6)), bridging.questions(scenes, range(6))
    mixed = bridging.mixed(captions, asked, share=0.5)
    assert abs(sum(bool(one.prompt) for one in mixed) / len(mixed) - 0.5) < 0.1
    assert bridging.mixed(captions, asked, share=0.0) == captions
