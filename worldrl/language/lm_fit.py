"""Fit a small language model to text."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError, NumericsError
from worldrl.language.causal_lm import WordLM
from worldrl.resuming import Parts, run_steps

IGNORED = -100
"""Label of what is not to be guessed."""
POOL = 16
"""Batches that are drawn at once and sorted by length."""


def fit_language_model(
    model: WordLM,
    documents: Sequence[Sequence[str]],
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> float:
    """Train a language model to guess the words of documents, and freeze it.

    Args:
        model: Changed in place, and left frozen.
        documents: Sentences that belong together; the model learns to read the earlier for the later.
        steps: Gradient steps.
        batch_size: Documents a step.
        lr: Highest learning rate, falling to zero along a cosine.
        seed: Of the batches.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps, nats a word.

    Raises:
        ConfigError: If there is no document, or no step to make.
        DataError: If a document is too long, or has a word that the model does not know.
        NumericsError: If the loss is not finite.
    """
    if not documents or steps < 1 or batch_size < 1:
        raise ConfigError("a language model must have documents, steps and batch_size of at least 1 to be fitted.")
    rng = np.random.default_rng(seed)
    rows = [torch.tensor(joined(model, document)) for document in documents]
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    warm = min(0.3, 50 / steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=warm, cycle_momentum=False
    )
    drawn = batches([len(row) for row in rows], batch_size, rng=rng)

    def take(step: int) -> float:
        pieces = padded([rows[i] for i in next(drawn)])
        loss = guess_loss(model, pieces)
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of the language model is {loss.item()} at step {step}: lower lr.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    mean_loss = run_steps(take, steps=steps, parts=Parts({}), progress=progress)
    model.freeze()
    return mean_loss


def batches(lengths: Sequence[int], batch_size: int, *, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield batches without end, each of rows of about one length: a third less is padded and computed in vain.

    Args:
        lengths: Of all rows.
        batch_size: Rows a batch.
        rng: What draws them.
    """
    while True:
        pool = rng.integers(0, len(lengths), POOL * batch_size)
        ranked = pool[np.argsort(np.array(lengths)[pool], kind="stable")]
        for i in rng.permutation(POOL):
            yield ranked[i * batch_size : (i + 1) * batch_size].tolist()


def joined(model: WordLM, document: Sequence[str]) -> list[int]:
    """Return the pieces of a document: an end, then every sentence with its end."""
    pieces = [model.end]
    for sentence in document:
        pieces += [*model.read(sentence), model.end]
    return pieces


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of pieces as one tensor ``(b, n)``, ``IGNORED`` where a row is over."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=IGNORED)


def guess_loss(model: WordLM, pieces: Tensor) -> Tensor:
    """Return the mean cross-entropy of each piece given those before it, nats; the first is given."""
    logits = model(model.embed(pieces[:, :-1].clamp_min(0)))
    return F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten(), ignore_index=IGNORED)
