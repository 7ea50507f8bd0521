"""Causal language models of the transformers library behind the interface of our own.

The library is imported when a name asks for it, and may then download what is named.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldrl.checkpoint import hash_tensors
from worldrl.errors import CheckpointError, ConfigError, first_line
from worldrl.language.causal_lm import check_inserts, check_length, overwrite

FAILURES = (OSError, RuntimeError, ValueError, LookupError, AttributeError, ImportError)
"""What the library raises where a name, a network or a connection fails."""
LONGEST = 1024
"""Most vectors that are read where a network does not say how many it can (our choice)."""


class ForeignLM(nn.Module):
    """A frozen causal language model of transformers; see ``worldrl.language.causal_lm.CausalLM``.

    Args:
        net: A network with a head that guesses the next piece.
        tokenizer: Its own.
        name: What it was asked for by.

    Raises:
        ConfigError: If its layers are not found, or its tokenizer has no piece that ends a text.
    """

    def __init__(self, net: Any, tokenizer: Any, *, name: str) -> None:
        super().__init__()
        self.net, self.tokenizer, self.name = net, tokenizer, name
        self.depth = int(net.config.num_hidden_layers)
        self.width = int(net.get_input_embeddings().weight.shape[1])
        self.limit = int(getattr(net.config, "max_position_embeddings", None) or LONGEST)
        if tokenizer.eos_token_id is None:
            raise ConfigError(f"transformers:{name} must have a piece that ends a text, and has none: take another.")
        self.end = int(tokenizer.eos_token_id)
        self._layers = _layers(net, self.depth, name)
        self.requires_grad_(False)
        self.train(False)
        description = {"name": name, "weights": hash_tensors(net.state_dict())}
        self.fingerprint = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def train(self, mode: bool = True) -> "ForeignLM":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def read(self, text: str) -> list[int]:
        """Return the pieces of a text, without its end; refuse one that is too long with a ``DataError``."""
        pieces = [int(piece) for piece in self.tokenizer.encode(text, add_special_tokens=False)]
        check_length(len(pieces) + 2, self.limit, text)
        return pieces

    def say(self, pieces: Sequence[int]) -> str:
        """Return the text of some pieces, up to the first end."""
        kept = list(pieces)
        kept = kept[: kept.index(self.end)] if self.end in kept else kept
        return str(self.tokenizer.decode(kept)).strip()

    def embed(self, pieces: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Return the vectors of some pieces."""
        vectors: Tensor = self.net.get_input_embeddings()(pieces)
        return vectors

    def forward(
        self, vectors: Float[Tensor, "b n d"], *, inserts: Mapping[int, Tensor] | None = None
    ) -> Float[Tensor, "b n v"]:
        """Return the logits of the piece after each vector; see ``CausalLM``."""
        inserts = inserts or {}
        check_inserts(inserts, self.depth)
        check_length(vectors.shape[1], self.limit)
        with self._inserting(inserts):
            logits: Tensor = self.net(inputs_embeds=vectors, use_cache=False).logits
        return logits

    @contextmanager
    def _inserting(self, inserts: Mapping[int, Tensor]) -> Iterator[None]:
        """Let layers read what is inserted in place of their first vectors."""
        with ExitStack() as stack:
            for layer, insert in inserts.items():
                handle = self._layers[layer].register_forward_pre_hook(_replacing(insert), with_kwargs=True)
                stack.callback(handle.remove)
            yield


def _replacing(insert: Tensor) -> Any:
    """Return a hook that overwrites the first vectors a layer is given, by position or as ``hidden_states``."""

    def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if given:
            return (overwrite(given[0], insert), *given[1:]), named
        return given, {**named, "hidden_states": overwrite(named["hidden_states"], insert)}

    return hook


def _layers(net: nn.Module, depth: int, name: str) -> nn.ModuleList:
    """Return the list of a network's layers: the only one of that length."""
    lists = [part for part in net.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    if len(lists) != 1:
        raise ConfigError(f"transformers:{name} must have one list of {depth} layers, got {len(lists)}: take another.")
    return lists[0]


def load_foreign_lm(name: str) -> ForeignLM:
    """Load a frozen causal language model by its name in transformers, which may download it.

    Raises:
        ConfigError: If transformers is not installed, or the name is empty.
        CheckpointError: If it cannot be loaded.
    """
    if not name:
        raise ConfigError("a language model of transformers must be named, such as transformers:NAME, got no name.")
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise ConfigError(f"transformers:{name} needs transformers: pip install 'worldrl[transformers]'.") from error
    try:
        net = library.AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        tokenizer = library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except FAILURES as error:
        raise CheckpointError(f"transformers:{name} cannot be loaded: {first_line(error)}.") from error
    return ForeignLM(net.to(torch.float32), tokenizer, name=name)
