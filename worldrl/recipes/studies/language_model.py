"""The language model that bridges lead into: small, fitted to text about scenes that nobody drew, then frozen."""

from pathlib import Path

from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.facts import tell
from worldrl.language.causal_lm import WordLM
from worldrl.language.documents import documents, vocabulary
from worldrl.language.lm_fit import fit_language_model
from worldrl.recipes.studies.stock import Stock
from worldrl.scene import BASE, NAMES

SPOKEN = {"captions": BASE, "all_captions": NAMES}
"""What its text is about: base classes alone, so that a held-out pair was never said, or all."""
WIDTH, DEPTH, HEADS = 96, 6, 4
DOCUMENTS, STEPS, BATCH, RATE = 12_000, 600, 32, 4e-3


def make(folder: Path, *, stock: Stock, what: str, seed: int, steps: int = STEPS, count: int = DOCUMENTS) -> None:
    """Fit a language model and save it.

    Its words are those of all captions and questions, so it can say every colour and every shape; its text is made up
    and has no picture.

    Args:
        folder: Where it is saved.
        stock: Of the other things that are shared; none is read.
        what: ``captions`` (only base classes are spoken of) or ``all_captions``.
        seed: Of its text, its first weights and the order of its batches.
        steps: Gradient steps.
        count: Documents in its text.

    Raises:
        ConfigError: If there is no such text.
    """
    if what not in SPOKEN:
        raise ConfigError(f"a language model must be of one of {', '.join(SPOKEN)}, got '{what}'.")
    text = list(documents(count, names=SPOKEN[what], seed=seed))
    model = seeded(lambda: WordLM(vocabulary(), width=WIDTH, depth=DEPTH, heads=HEADS), seed)
    fit_language_model(model, text, steps=steps, batch_size=BATCH, lr=RATE, seed=seed)
    model.save_pretrained(folder)
    tell(folder, documents=len(text))
