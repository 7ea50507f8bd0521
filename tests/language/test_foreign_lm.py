"""Language models of transformers are read like ours; the library is asked only when it is named."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worldrl.encoders.frozen import seeded
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.language.bridges import Shown
from worldrl.language.causal_lm import CausalLM, load_language_model
from worldrl.language.foreign_lm import ForeignLM
from worldrl.language.telling import Told, spell, tell_loss


class Layer(nn.Module):
    """A layer that is given its tokens by name, as some of the library's are, and looks back by a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, hidden_states: Tensor) -> Tensor:
        steps = torch.arange(1.0, 1.0 + hidden_states.shape[1])[:, None]
        changed: Tensor = hidden_states + self.linear(hidden_states.cumsum(dim=1) / steps)
        return changed


class Net(nn.Module):
    """A network like the library's: embeddings, layers, a head; ``named`` layers are called with keywords."""

    def __init__(self, named: bool = True, longest: int = 12) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=2, max_position_embeddings=longest)
        self.table, self.layers = nn.Embedding(5, 4), nn.ModuleList([Layer(), Layer()])
        self.named = named

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, inputs_embeds: Tensor, use_cache: bool) -> SimpleNamespace:
        assert not use_cache
        x = inputs_embeds
        for layer in self.layers:
            x = layer(hidden_states=x) if self.named else layer(x)
        return SimpleNamespace(logits=x @ self.table.weight.T)


class Tokenizer:
    """Letters a to d are pieces 1 to 4; 0 is the end."""

    eos_token_id: int | None = 0

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return ["abcd".index(letter) + 1 for letter in text.replace(" ", "")]

    def decode(self, pieces: list[int]) -> str:
        return " " + "".join("abcd"[piece - 1] for piece in pieces)


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for transformers that has one language model, ``letters``."""
    stub: Any = ModuleType("transformers")

    def found(make: Any, what: dict[str, Any]) -> Any:
        def load(name: str, **options: Any) -> Any:
            assert options == what
            if name != "letters":
                raise OSError(f"{name} is not a local folder\nand more lines")
            return make()

        return SimpleNamespace(from_pretrained=load)

    stub.AutoModelForCausalLM = found(lambda: seeded(Net, 0), {"use_safetensors": True, "trust_remote_code": False})
    stub.AutoTokenizer = found(Tokenizer, {"trust_remote_code": False})
    monkeypatch.setitem(sys.modules, "transformers", stub)
    return stub


def test_a_model_is_loaded_by_name_frozen_and_behind_the_protocol(transformers: Any) -> None:
    model: CausalLM = load_language_model("transformers:letters")
    assert isinstance(model, ForeignLM)
    assert (model.width, model.depth, model.limit, model.end) == (4, 2, 12, 0)
    assert model.read("abd") == [1, 2, 4] and model.say([1, 2, 0, 3]) == "ab"
    model.train()
    assert not model.net.training and not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("named", [True, False])
def test_inserts_take_the_place_of_the_first_vectors_before_a_layer_and_leave_no_hook(named: bool) -> None:
    model = ForeignLM(seeded(lambda: Net(named), 0), Tokenizer(), name="letters")
    vectors, other = torch.randn(1, 3, 4), torch.randn(1, 1, 4)
    plain = model(vectors)
    torch.testing.assert_close(model(vectors, inserts={0: other}), model(torch.cat([other, vectors[:, 1:]], dim=1)))
    assert not torch.allclose(model(vectors, inserts={1: other})[:, -1], plain[:, -1])
    torch.testing.assert_close(model(vectors), plain)


def test_gradients_pass_through_to_what_is_shown_and_the_weights_have_none() -> None:
    model = ForeignLM(seeded(Net, 0), Tokenizer(), name="letters")
    prefix, insert = (torch.randn(1, 1, 4, requires_grad=True) for _ in range(2))
    tell_loss(model, Shown(prefix, {1: insert}), *spell(model, [Told(0, "ab", "cd")])).backward()
    assert insert.grad is not None and insert.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in model.parameters())


def test_a_text_that_is_too_long_is_refused() -> None:
    model = ForeignLM(seeded(lambda: Net(longest=4), 0), Tokenizer(), name="letters")
    with pytest.raises(DataError, match="at most 4 pieces, got 5"):
        model.read("abc")
    with pytest.raises(DataError, match="at most 4 pieces, got 5"):
        model(torch.zeros(1, 5, 4))


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"transformers:letters needs transformers: pip install 'worldrl\[transf"):
        load_language_model("transformers:letters")


def test_a_model_that_cannot_be_found_is_one_sentence(transformers: Any) -> None:
    with pytest.raises(CheckpointError, match=r"words cannot be loaded: words is not a local folder\.$"):
        load_language_model("transformers:words")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="got no name"):
        load_language_model("transformers:")


def test_a_model_without_an_end_or_without_its_layers_is_refused() -> None:
    endless = Tokenizer()
    endless.eos_token_id = None
    with pytest.raises(ConfigError, match="a piece that ends a text"):
        ForeignLM(Net(), endless, name="letters")
    net = Net()
    net.config.num_hidden_layers = 3
    with pytest.raises(ConfigError, match="one list of 3 layers, got 0"):
        ForeignLM(net, Tokenizer(), name="letters")
