"""Small tasks cut out of images and their captions, without labels: which pairs are one class, and which one domain.

GRAM makes its tasks by clustering image-text pairs hierarchically, coarse clusters being domains and fine ones classes
(only that much of it is known here). A strict tree would put every class into one domain, and no class could be learnt
in one domain and asked for in another; ours therefore cross: fine clusters of what image and text say together are the
classes, and coarse clusters of what an image still says once the mean of its class is taken away are the domains.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.clusters import kmeans
from worldrl.errors import ConfigError, DataError

OFTEN, SELDOM = 0.5, 0.25
"""A word tells a class where it stands in more than so many of its captions, and in at most so many of all captions."""
ARTICLES = ("a", "an", "the")
"""Words that tell nothing."""


@dataclass(frozen=True)
class Clusters:
    """Which class and which domain each pair is in.

    Attributes:
        classes: ``(n,)`` numbers of fine clusters.
        domains: ``(n,)`` numbers of coarse clusters, which cut across the classes.
        names: What every class is called: the words that its captions share and others seldom have.
    """

    classes: Int[Tensor, " n"]
    domains: Int[Tensor, " n"]
    names: tuple[str, ...]


@dataclass(frozen=True)
class FewShot:
    """One task, as rows of the pairs that it was drawn from.

    Attributes:
        classes: ``(c,)`` which classes are to be told apart.
        support: ``(c, s)`` rows to learn from.
        query: ``(c, q)`` rows to be asked for.
    """

    classes: Int[Tensor, " c"]
    support: Int[Tensor, "c s"]
    query: Int[Tensor, "c q"]


def cluster_pairs(
    images: Float[Tensor, "n e"],
    texts: Float[Tensor, "n e"],
    captions: Sequence[str],
    *,
    classes: int,
    domains: int,
    seed: int,
) -> Clusters:
    """Find classes and domains in image-text pairs.

    Fine clusters that get the same name are one class.

    Args:
        images: Embeddings of the images.
        texts: Embeddings of their captions, in the same space.
        captions: ``n`` sentences.
        classes: Fine clusters wanted, at least 2; there may be fewer.
        domains: Coarse clusters wanted, at least 2.
        seed: Of the starts of both.

    Raises:
        ConfigError: If fewer than two clusters are wanted of a kind, or more than there are pairs.
        DataError: If images, texts and captions are not equally many.
    """
    if not len(images) == len(texts) == len(captions):
        raise DataError(
            f"images, texts and captions must be equally many, got {len(images)}, {len(texts)} and {len(captions)}."
        )
    if min(classes, domains) < 2 or max(classes, domains) > len(images):
        raise ConfigError(
            f"classes and domains must be in [2, {len(images)}], the number of pairs, got {classes} and {domains}."
        )
    joint = torch.cat([_centred(images), _centred(texts)], dim=1)
    fine = _nearest(joint, kmeans(joint, classes, seed=seed)[0])
    names = [name_cluster(captions, fine == i) for i in range(classes)]
    known = sorted(set(names) - {""})
    place = torch.tensor([known.index(name) if name else -1 for name in names])
    labels = place[fine]
    rest = _centred(images) - _means(_centred(images), labels + 1, len(known) + 1)[labels + 1]
    return Clusters(labels, _nearest(rest, kmeans(rest, domains, seed=seed)[0]), tuple(known))


def name_cluster(captions: Sequence[str], members: Tensor) -> str:
    """Return the words that most of a cluster's captions share and at most a quarter of all have, in their order.

    Args:
        captions: All ``n`` sentences.
        members: ``(n,)`` bool, which are the cluster's.

    Returns:
        The words, nothing where no word tells the cluster from the rest.
    """
    inside = [captions[i].split() for i in members.nonzero().flatten().tolist()]
    overall = Counter(word for caption in captions for word in set(caption.split()))
    here = Counter(word for words in inside for word in set(words))
    telling = {
        word
        for word, times in here.items()
        if word not in ARTICLES and times > OFTEN * len(inside) and overall[word] <= SELDOM * len(captions)
    }
    orders: Counter[tuple[str, ...]] = Counter(
        tuple(dict.fromkeys(word for word in words if word in telling)) for words in inside
    )
    full = {order: times for order, times in orders.items() if len(order) == len(telling)}
    words = max(full.items(), key=lambda item: item[1])[0] if full else sorted(telling)
    return " ".join(words)


class Episodes:
    """Draws tasks whose classes are learnt in one domain and asked for in another.

    Args:
        classes: ``(n,)`` class of every row; rows below zero belong to none.
        domains: ``(n,)`` domain of every row.
        ways: Classes of a task, at least 2.
        shots: Rows of a class to learn from.
        queries: Rows of a class to be asked for.
        crossings: Pairs of domains, from which and to which; all pairs of different ones if none are given.

    Raises:
        ConfigError: If ways, shots or queries are too few.
        DataError: If no two domains share enough classes that have enough rows.
    """

    def __init__(
        self,
        classes: Int[Tensor, " n"],
        domains: Int[Tensor, " n"],
        *,
        ways: int,
        shots: int,
        queries: int,
        crossings: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        if ways < 2 or shots < 1 or queries < 1:
            raise ConfigError(
                f"a task must have at least 2 ways, 1 shot and 1 query, got {ways}, {shots} and {queries}."
            )
        self.ways, self.shots, self.queries = ways, shots, queries
        keys = sorted({(int(c), int(d)) for c, d in zip(classes, domains, strict=True) if c >= 0})
        self._rows = {key: ((classes == key[0]) & (domains == key[1])).nonzero().flatten() for key in keys}
        kinds = sorted({domain for _, domain in keys})
        pairs = crossings or [(a, b) for a in kinds for b in kinds if a != b]
        shared = {pair: self._shared(*pair) for pair in pairs}
        self._crossings = [(pair, found) for pair, found in shared.items() if len(found) >= ways]
        if not self._crossings:
            most = max((len(found) for found in shared.values()), default=0)
            raise DataError(
                f"two domains must share at least {ways} classes with {shots} rows in the first and {queries} in the "
                f"second, got at most {most}: ask for fewer ways, shots or domains."
            )

    def draw(self, rng: torch.Generator) -> FewShot:
        """Draw a task: a crossing, its classes, and their rows, without putting any back."""
        (source, target), shared = self._crossings[int(torch.randint(len(self._crossings), (1,), generator=rng))]
        classes = torch.tensor(shared)[torch.randperm(len(shared), generator=rng)[: self.ways]]
        support = [self._some(int(c), source, self.shots, rng) for c in classes]
        query = [self._some(int(c), target, self.queries, rng) for c in classes]
        return FewShot(classes, torch.stack(support), torch.stack(query))

    def _shared(self, source: int, target: int) -> list[int]:
        """Return the classes with enough rows in both domains."""
        there = {label for label, domain in self._rows if domain == target}
        candidates = [label for label, domain in self._rows if domain == source and label in there]
        return [
            label
            for label in candidates
            if len(self._rows[label, source]) >= self.shots and len(self._rows[label, target]) >= self.queries
        ]

    def _some(self, label: int, domain: int, count: int, rng: torch.Generator) -> Tensor:
        rows = self._rows[label, domain]
        return rows[torch.randperm(len(rows), generator=rng)[:count]]


def _centred(vectors: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """Return unit vectors about the mean: the gap between all images and all texts says nothing of a pair."""
    return F.normalize(vectors - vectors.mean(dim=0), dim=-1)


def _nearest(points: Float[Tensor, "n d"], centres: Float[Tensor, "k d"]) -> Int[Tensor, " n"]:
    return torch.cdist(points, centres).argmin(dim=1)


def _means(points: Float[Tensor, "n d"], labels: Int[Tensor, " n"], count: int) -> Float[Tensor, "k d"]:
    sums = points.new_zeros(count, points.shape[1]).index_add_(0, labels, points)
    return sums / torch.bincount(labels, minlength=count).clamp_min(1).unsqueeze(1)
