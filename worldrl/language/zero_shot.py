"""Naming and finding with two towers and nothing else: classes are sentences, pictures are near them or not."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.data.captions import TEMPLATES, with_article
from worldrl.errors import ConfigError
from worldrl.scene import check_names


class Towers(Protocol):
    """Who has pictures and texts in one space: two towers of ours, ConSE, or a CLIP of another library."""

    def images(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Return unit vectors ``(b, e)`` of pictures ``(b, h, w, 3)`` uint8."""
        ...

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(k, e)`` of texts."""
        ...


@torch.no_grad()
def zero_shot_classifier(
    towers: Towers, names: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Float[Tensor, "k e"]:
    """Return one unit vector for each class: the mean of its unit vectors in several sentences.

    Source: Radford et al. 2021, section 3.1.4 (arXiv:2103.00020).

    Args:
        towers: Who embeds texts.
        names: Of the classes.
        templates: Sentences with ``{}`` where the name stands with its article.

    Raises:
        ConfigError: If a name is empty or stands there twice, or there is no template, or one without ``{}``.
        DataError: If the towers do not know a word, or a text is too long for them.
    """
    check_names(names)
    if isinstance(templates, str) or not templates or not all(template.count("{}") == 1 for template in templates):
        raise ConfigError(f"templates must be a list of sentences with one {{}} each, got {templates!r:.80}.")
    said = [template.format(with_article(name.strip())) for name in names for template in templates]
    vectors = rearrange(F.normalize(towers.texts(said), dim=-1), "(k t) e -> k t e", k=len(names))
    return F.normalize(vectors.mean(dim=1), dim=-1)


def classify(images: Float[Tensor, "b e"], classes: Float[Tensor, "k e"]) -> Int[Tensor, " b"]:
    """Return which class each picture is nearest to.

    Args:
        images: Unit vectors of pictures.
        classes: What ``zero_shot_classifier`` gives.
    """
    return (images @ classes.T).argmax(dim=1)


def recall_at(
    queries: Float[Tensor, "n e"], found: Float[Tensor, "m e"], right: Tensor, *, ranks: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """Return the share of queries that have something right among the nearest.

    Args:
        queries: Unit vectors.
        found: Unit vectors of what is searched.
        right: ``(n, m)`` bool, what is right for each query; a query without any is left out.
        ranks: How many of the nearest are looked at.

    Raises:
        ValueError: If there is nothing right for any query, or ``right`` is not of this shape.
    """
    if right.shape != (len(queries), len(found)) or not right.any():
        raise ValueError(
            f"right must be ({len(queries)}, {len(found)}) and somewhere true, got {tuple(right.shape)}, "
            f"true {int(right.sum())} times."
        )
    asked = right.any(dim=1)
    order = (queries @ found.T).argsort(dim=1, descending=True, stable=True)
    hits = right.gather(1, order)[asked]
    return {rank: hits[:, :rank].any(dim=1).float().mean().item() for rank in ranks}


def retrieval(
    images: Float[Tensor, "n e"], captions: Float[Tensor, "n e"], meanings: Sequence[str]
) -> dict[str, float]:
    """Return R@1 and R@5 of captions for pictures and of pictures for captions.

    A caption that says the same as a picture's own is right as well.

    Args:
        images: Unit vectors of pictures.
        captions: Unit vectors, one caption for each picture.
        meanings: What each caption says, equal where two say the same.

    Returns:
        ``text_at_1``, ``text_at_5``, ``image_at_1``, ``image_at_5``.
    """
    place = {meaning: i for i, meaning in enumerate(dict.fromkeys(meanings))}
    numbers = torch.tensor([place[meaning] for meaning in meanings])
    same = numbers.unsqueeze(1) == numbers.unsqueeze(0)
    texts, pictures = recall_at(images, captions, same), recall_at(captions, images, same.T)
    return {f"text_at_{rank}": share for rank, share in texts.items()} | {
        f"image_at_{rank}": share for rank, share in pictures.items()
    }
