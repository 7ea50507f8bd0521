"""Small language models, frozen and read through vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.frozen import seeded
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.language.causal_lm import CausalLM, WordLM, load_language_model, overwrite
from worldrl.language.lm_fit import batches, fit_language_model, guess_loss, joined, padded

WORDS = ["a", "ball", "blue", "cube", "red"]


def small(depth: int = 2, limit: int = 32) -> WordLM:
    return seeded(lambda: WordLM(WORDS, width=16, depth=depth, heads=2, limit=limit), 0)


def test_what_comes_later_does_not_change_what_was_guessed_before() -> None:
    model, vectors = small(), torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    changed = vectors.clone()
    changed[:, 4:] = 0.0
    torch.testing.assert_close(model(vectors)[:, :4], model(changed)[:, :4])
    assert not torch.allclose(model(vectors)[:, 4:], model(changed)[:, 4:])


def test_the_order_of_words_counts() -> None:
    model = small()
    one, other = (model(model.embed(torch.tensor([row]))) for row in ([1, 2, 3], [2, 1, 3]))
    assert not torch.allclose(one[:, -1], other[:, -1], atol=1e-4)


def test_what_is_inserted_takes_the_place_of_the_first_vectors() -> None:
    vectors, insert = torch.zeros(1, 3, 2), torch.ones(1, 1, 2)
    assert overwrite(vectors, insert).tolist() == [[[1, 1], [0, 0], [0, 0]]]
    assert overwrite(vectors, None) is vectors


def test_an_insert_before_the_first_layer_is_the_same_as_reading_it() -> None:
    model, vectors, other = small(), torch.randn(1, 4, 16), torch.randn(1, 1, 16)
    torch.testing.assert_close(model(vectors, inserts={0: other}), model(torch.cat([other, vectors[:, 1:]], dim=1)))


def test_an_insert_before_a_deeper_layer_reaches_the_words_after_it() -> None:
    model, vectors = small(), torch.randn(1, 4, 16)
    assert not torch.allclose(model(vectors), model(vectors, inserts={1: torch.randn(1, 1, 16)}), atol=1e-4)


def test_there_is_no_layer_beyond_the_last() -> None:
    with pytest.raises(ConfigError, match=r"in \[0, 1\], got 2"):
        small()(torch.zeros(1, 3, 16), inserts={2: torch.zeros(1, 1, 16)})


def test_a_frozen_model_has_no_gradients_but_lets_them_through_and_cannot_be_trained() -> None:
    model = small().freeze()
    before = hash_tensors(model.state_dict())
    model.train()
    assert not model.training and not any(module.training for module in model.modules())
    vectors = torch.randn(1, 3, 16, requires_grad=True)
    model(vectors).sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().sum() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in model.parameters())
    assert hash_tensors(model.state_dict()) == before


def test_a_text_that_is_too_long_is_refused_in_one_sentence() -> None:
    with pytest.raises(DataError, match=r"at most 8 pieces, got 11 in 'red red") as caught:
        small(limit=8).read("red " * 9)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="at most 8 pieces, got 9"):
        small(limit=8)(torch.zeros(1, 9, 16))


def test_a_saved_model_is_the_same_again_and_frozen(tmp_path: Path) -> None:
    model = small()
    model.save_pretrained(tmp_path / "lm")
    again = load_language_model(tmp_path / "lm")
    assert isinstance(again, WordLM) and again.is_frozen
    assert again.fingerprint == model.fingerprint
    vectors = torch.randn(1, 3, 16)
    torch.testing.assert_close(again(vectors), model(vectors))


def test_a_fingerprint_tells_other_weights_apart() -> None:
    assert small().fingerprint == small().fingerprint
    assert small().fingerprint != seeded(lambda: WordLM(WORDS, width=16, depth=2, heads=2, limit=32), 1).fingerprint


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_language_model(tmp_path)


@pytest.mark.parametrize("sizes", [{"width": 18, "heads": 2}, {"depth": 0}, {"heads": 0}, {"limit": 0}])
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="multiple of twice the heads"):
        WordLM(WORDS, **sizes)


def test_a_document_begins_with_an_end_and_every_sentence_has_its_own() -> None:
    assert joined(small(), ["red cube", "a ball"]) == [0, 5, 4, 0, 1, 2, 0]


def test_fitting_learns_to_say_what_it_has_read_and_freezes() -> None:
    model = small()
    text = [["red cube", "a red cube"], ["blue ball", "a blue ball"]]
    before = guess_loss(model, padded([torch.tensor(joined(model, one)) for one in text])).item()
    after = fit_language_model(model, text, steps=60, batch_size=4, lr=1e-2)
    assert after < 0.3 * before
    assert model.is_frozen
    read = torch.tensor([[*joined(model, ["blue ball"]), 1]])
    assert model.say([int(model(model.embed(read))[0, -1].argmax())]) == "blue"


def test_rows_of_a_batch_are_of_about_one_length() -> None:
    lengths = [2, 9] * 50
    drawn = batches(lengths, 4, rng=np.random.default_rng(0))
    mixed = sum(len({lengths[i] for i in next(drawn)}) > 1 for _ in range(16))
    assert mixed <= 1


def test_fitting_follows_from_its_seed() -> None:
    losses = {fit_language_model(small(), [["red cube"], ["a ball"]], steps=3, seed=7) for _ in range(2)}
    assert len(losses) == 1


@pytest.mark.parametrize("changed", [{"documents": []}, {"steps": 0}, {"batch_size": 0}])
def test_fitting_on_nothing_is_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        fit_language_model(small(), **{"documents": [["red"]], "steps": 1, **changed})  # type: ignore[arg-type]


def test_a_model_of_ours_keeps_the_protocol() -> None:
    model: CausalLM = small()
    assert (model.width, model.depth, model.limit, model.end) == (16, 2, 32, 0)
