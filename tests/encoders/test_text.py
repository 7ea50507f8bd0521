"""A frozen text encoder says the same of the same text, and alike of texts that mean alike."""

from pathlib import Path

import pytest
import torch
from torch import nn

from worldrl.encoders import FrozenTextEncoder, load_text_encoder
from worldrl.encoders.bert import Bert
from worldrl.encoders.convert import read_minilm_safetensors
from worldrl.encoders.frozen import seeded
from worldrl.encoders.registry import describe
from worldrl.encoders.weights import converted_folder
from worldrl.errors import CheckpointError, ConfigError, DataError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
# the first four numbers of two texts, as transformers' BertModel has them too
PUSH, DRAWER = [-0.0370, 0.0251, -0.0424, 0.0071], [-0.0237, 0.0362, -0.0419, 0.0123]


def build(seed: int = 0, **settings: int) -> FrozenTextEncoder:
    return FrozenTextEncoder(seeded(lambda: Bert(len(WORDS)), seed), WORDS, name="toy", **settings)


@pytest.fixture(scope="module")
def toy() -> FrozenTextEncoder:
    return build()


@pytest.fixture(scope="module")
def folder(installed: Path) -> Path:
    folder = installed / "encoders" / converted_folder("minilm").name
    if not folder.is_dir():
        pytest.skip("weights are not here: worldrl encoders install minilm")
    return folder


@pytest.mark.weights
def test_minilm_has_the_vectors_it_always_had(folder: Path) -> None:
    encoder = load_text_encoder(weights=folder)
    vectors = encoder(["a robot arm pushes the red block to the left", "open the drawer"])
    assert vectors.shape == (2, encoder.width) == (2, 384)
    torch.testing.assert_close(vectors[:, :4], torch.tensor([PUSH, DRAWER]), atol=2e-4, rtol=0)
    assert encoder.tokenizer.pieces("unbuttoned café") == ["un", "##bu", "##tton", "##ed", "cafe"]


@pytest.mark.weights
def test_what_means_alike_is_close_in_minilm_and_not_in_its_random_twin(folder: Path) -> None:
    texts = ["pull the drawer open", "open the drawer", "stock markets fell on Monday"]
    for random_init in (False, True):
        vectors = load_text_encoder(weights=folder, random_init=random_init)(texts)
        close, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
        assert (close > far + 0.5) is not random_init


def test_a_text_does_not_see_the_rest_of_its_batch(toy: FrozenTextEncoder) -> None:
    texts = ["a b c", "d", "", *["e f g h a b" * (i % 4) for i in range(32)]]
    together = toy(texts)
    for i in (0, 1, 2, 31, 32, 34):
        torch.testing.assert_close(toy([texts[i]])[0], together[i], atol=1e-5, rtol=1e-5)


def test_every_vector_is_of_length_one(toy: FrozenTextEncoder) -> None:
    vectors = toy(["a b c", "d", ""])
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_the_order_of_words_matters(toy: FrozenTextEncoder) -> None:
    first, second = toy(["a b c", "c b a"])
    assert not torch.allclose(first, second, atol=1e-4)


def test_training_changes_nothing(toy: FrozenTextEncoder) -> None:
    before = toy(["a b"])
    nn.Sequential(toy).train()
    assert torch.equal(toy(["a b"]), before) and not toy.training
    assert not before.requires_grad and not any(parameter.requires_grad for parameter in toy.parameters())


def test_the_fingerprint_is_of_weights_vocabulary_and_limit(toy: FrozenTextEncoder) -> None:
    swapped = FrozenTextEncoder(toy.backbone, [*WORDS[:4], *"bacdefgh"], name="toy")
    prints = {toy.fingerprint, build(seed=1).fingerprint, build(limit=8).fingerprint, swapped.fingerprint}
    assert len(prints) == 4
    assert build().fingerprint == toy.fingerprint


def test_a_text_that_is_too_long_is_refused_or_its_beginning_is_read() -> None:
    assert build(limit=5)(["a b c"]).shape == (1, 384)
    with pytest.raises(DataError, match=r"at most 3 pieces of words for toy, got 4 in 'a b c d\.\.\.': shorten it"):
        build(limit=5)(["a", "a b c d"])
    torch.testing.assert_close(build(limit=5, truncate=True)(["a b c d"]), build()(["a b c"]))


def test_a_single_string_is_not_taken_for_its_letters(toy: FrozenTextEncoder) -> None:
    with pytest.raises(TypeError, match="texts must be a list of strings, got 'open the drawer'"):
        toy("open the drawer")
    with pytest.raises(TypeError, match="must be a list of strings"):
        toy(["a", None])
    with pytest.raises(ValueError, match="at least one, got none"):
        toy([])


@pytest.mark.parametrize("limit", [2, 513])
def test_a_limit_that_cannot_be_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=rf"limit must be in \[3, 512\], got {limit}"):
        build(limit=limit)


def test_an_encoder_of_frames_is_none_of_texts() -> None:
    with pytest.raises(ConfigError, match="text encoder must be one of minilm, got 'xfeat'"):
        load_text_encoder("xfeat")


def test_foreign_names_become_ours_and_the_vocabulary_goes_along(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    bert = Bert(len(WORDS))
    save_file(_as_transformers(dict(bert.state_dict())), tmp_path / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tensors = read_minilm_safetensors(tmp_path / "model.safetensors")
    assert tensors.pop("vocabulary").numpy().tobytes().decode().split() == WORDS
    torch.testing.assert_close(tensors, dict(bert.state_dict()))


@pytest.mark.parametrize("vocabulary", [None, "[UNK]\n"])
def test_weights_without_their_own_vocabulary_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocabulary: str | None
) -> None:
    from dataclasses import replace

    from worldrl import checkpoint
    from worldrl.encoders.registry import WEIGHTS

    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setitem(WEIGHTS, "minilm", replace(describe("minilm"), sha256=checkpoint.sha256(file)))
    if vocabulary is not None:
        (tmp_path / "vocab.txt").write_text(vocabulary)
    said = r"no vocab\.txt beside .*: both are in" if vocabulary is None else r"vocab\.txt must have sha256 07ec"
    with pytest.raises(CheckpointError, match=said):
        load_text_encoder(weights=file)


def _as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the tensors as transformers' BertModel does; its positions come without the first segment."""
    segments = torch.randn(2, 384)
    named = {
        "embeddings.position_ids": torch.arange(512)[None],
        "embeddings.word_embeddings.weight": state.pop("words.weight"),
        "embeddings.position_embeddings.weight": state.pop("positions") - segments[0],
        "embeddings.token_type_embeddings.weight": segments,
        "pooler.dense.weight": torch.zeros(384, 384),
    }
    places = {
        ".out.": ".attention.output.dense.",
        ".norm1.": ".attention.output.LayerNorm.",
        ".fc1.": ".intermediate.dense.",
        ".fc2.": ".output.dense.",
        ".norm2.": ".output.LayerNorm.",
        "blocks.": "encoder.layer.",
    }
    for name, value in state.items():
        for ours, theirs in places.items():
            name = name.replace(ours, theirs)
        name = f"embeddings.LayerNorm.{name.removeprefix('norm.')}" if name.startswith("norm.") else name
        parts = value.chunk(3) if ".qkv." in name else (value,)
        for part, rows in zip(("query", "key", "value"), parts, strict=False):
            named[name.replace(".qkv.", f".attention.self.{part}.")] = rows.clone()
    return named
