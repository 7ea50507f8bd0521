"""A CLIP of another library is asked as ours are; the library only when it is named."""

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.foreign import Plan
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.language import foreign_towers
from worldrl.language.foreign_towers import ForeignTowers, halves_of_transformers, load_towers

PLAN = Plan((4,), (8,), (10.0, 20.0, 30.0), (2.0, 2.0, 2.0), (16, 16))
LIMIT = 6


def tokenize(texts: Sequence[str], **options: Any) -> dict[str, Any]:
    """Return the lengths of words between a start and an end, as a tokenizer of transformers would."""
    rows = [[1, *(2 + len(word) for word in text.split()), 2] for text in texts]
    if "return_tensors" not in options:
        return {"input_ids": rows}
    longest = options.get("max_length", max(len(row) for row in rows))
    return {"input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in rows])}


class Clip(nn.Module):
    """A network of transformers: pictures are their mean colour, texts the mean of their tokens."""

    def __init__(self, model_type: str = "clip") -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.config = SimpleNamespace(
            model_type=model_type, text_config=SimpleNamespace(max_position_embeddings=LIMIT)
        )  # fmt: skip

    def get_image_features(self, pixel_values: Tensor) -> Any:
        return SimpleNamespace(pooler_output=pixel_values.mean(dim=(2, 3)) * self.scale)

    def get_text_features(self, input_ids: Tensor) -> Tensor:
        return input_ids.float().mean(dim=1, keepdim=True) * torch.tensor([1.0, 0.0, 0.0]) + input_ids.shape[1]


def towers(model_type: str = "clip") -> ForeignTowers:
    return ForeignTowers(halves_of_transformers(Clip(model_type), tokenize), PLAN, name="transformers:toy")


def test_pictures_are_resized_and_normalised_as_its_weights_expect() -> None:
    frames = np.full((2, 24, 40, 3), (110, 30, 30), np.uint8)
    expected = torch.tensor([[50.0, 5.0, 0.0]] * 2)  # (110 - 10) / 2, (30 - 20) / 2, (30 - 30) / 2
    assert torch.allclose(towers().images(frames), F.normalize(expected, dim=-1), atol=1e-5)
    with pytest.raises(TypeError, match="frames must be uint8"):
        towers().images(frames.astype(np.float32))


def test_texts_are_padded_to_each_other_or_as_siglip_was_trained() -> None:
    texts = ["red cube", "ball"]
    for model_type, width in (("clip", 4), ("siglip", LIMIT)):
        mean = (1 + 5 + 6 + 2) / width
        expected = F.normalize(torch.tensor([mean + width, width, width]), dim=0)
        assert torch.allclose(towers(model_type).texts(texts)[0], expected)


def test_foreign_towers_are_frozen_and_say_what_they_refuse() -> None:
    frozen = towers()
    frozen.train()
    assert not frozen.training and not any(weight.requires_grad for weight in frozen.parameters())
    with pytest.raises(DataError, match="a text must have at most 6 tokens for transformers:toy, got 7 in 'a b c d e"):
        frozen.texts(["a", "a b c d e"])
    with pytest.raises(ConfigError, match="context must be None for transformers:toy"):
        frozen.texts(["a"], context=torch.zeros(1, 3))
    with pytest.raises(TypeError, match="texts must be a list"):
        frozen.texts("a")
    with pytest.raises(ValueError, match="features of pictures and texts in one space"):
        halves_of_transformers(nn.Linear(1, 1), tokenize)


@pytest.mark.parametrize("name", ["clip", "timm:vit", "transformers:", ""])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="towers must be transformers:NAME or open_clip:NAME/PRETRAINED"):
        load_towers(name)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=library):
        load_towers(f"{library}:ViT-B-32/openai")


class OpenClip(nn.Module):
    context_length = LIMIT

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3))

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens[:, :3].float()


@pytest.fixture
def open_clip(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for open_clip with one network, whose tokens are padded with nines."""
    stub: Any = ModuleType("open_clip")

    def tokenizer(texts: Sequence[str], context_length: int = LIMIT) -> Tensor:
        rows = tokenize(texts)["input_ids"]
        return torch.tensor([(row + [9] * context_length)[:context_length] for row in rows])

    def create_model(name: str, *, pretrained: str) -> OpenClip:
        if pretrained != "toys":
            raise RuntimeError(f"no weights {pretrained}")
        return OpenClip()

    stub.create_model, stub.get_tokenizer = create_model, lambda name: tokenizer
    stub.list_pretrained_tags_by_model = lambda name: ["toys", "games"]
    monkeypatch.setitem(sys.modules, "open_clip", stub)
    monkeypatch.setattr(foreign_towers, "plan_of", lambda name: PLAN)
    return stub


def test_a_clip_of_open_clip_counts_tokens_without_their_padding(open_clip: ModuleType) -> None:
    loaded = load_towers("open_clip:Toy/toys")
    assert torch.allclose(loaded.texts(["red cube"])[0], F.normalize(torch.tensor([1.0, 5.0, 6.0]), dim=0))
    assert loaded.texts(["a b c d"]).shape == (1, 3)
    with pytest.raises(DataError, match=r"at most 6 tokens for open_clip:Toy/toys, got 7"):
        loaded.texts(["a b c d e"])


def test_weights_that_cannot_be_had_are_said_so(open_clip: ModuleType) -> None:
    with pytest.raises(
        CheckpointError, match=r"open_clip cannot load 'Toy': which weights must be said, .* toys, games"
    ):
        load_towers("open_clip:Toy")
    with pytest.raises(CheckpointError, match="open_clip cannot load 'Toy/other': no weights other"):
        load_towers("open_clip:Toy/other")


def test_a_clip_of_transformers_itself_is_asked_alike() -> None:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"vocab_size": 20, "max_position_embeddings": LIMIT}
    text = {**small, **words, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vision = {**small, "image_size": 16, "patch_size": 8}
    net = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=5))
    frozen = ForeignTowers(halves_of_transformers(net, tokenize), PLAN, name="transformers:toy")
    images, texts = frozen.images(np.zeros((2, 20, 20, 3), np.uint8)), frozen.texts(["red cube", "ball"])
    assert images.shape == texts.shape == (2, 5)
    assert torch.allclose(torch.cat([images, texts]).norm(dim=1), torch.ones(4))
