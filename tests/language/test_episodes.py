"""Tasks are cut out of pairs without labels, and their questions come from another domain than their examples."""

import pytest
import torch
from torch import Tensor

from worldrl.errors import ConfigError, DataError
from worldrl.language.episodes import Clusters, Episodes, cluster_pairs, name_cluster

COLOURS, SHAPES = ("red", "green", "blue", "white"), ("cube", "ball", "can", "mug")


def pairs() -> tuple[Tensor, Tensor, list[str], Tensor, Tensor]:
    """Return 160 pairs of sixteen classes in two lights; in an image a class counts more than the light."""
    rng = torch.Generator().manual_seed(0)
    classes, lights = torch.arange(16).repeat_interleave(10), torch.arange(2).repeat(80)
    images = torch.cat([4.0 * torch.eye(16)[classes], 2.0 * lights.unsqueeze(1) - 1.0], dim=1)
    images = images + 0.05 * torch.randn(160, 17, generator=rng)
    texts = torch.cat([torch.eye(16)[classes], torch.zeros(160, 1)], dim=1)
    captions = [f"a photo of a {COLOURS[c % 4]} {SHAPES[c // 4]}" for c in classes.tolist()]
    return images, texts, captions, classes, lights


def found(seed: int = 0) -> Clusters:
    images, texts, captions, _, _ = pairs()
    return cluster_pairs(images, texts, captions, classes=20, domains=2, seed=seed)


def test_fine_clusters_are_the_classes_and_get_the_words_that_tell_them_apart() -> None:
    _, _, captions, _, _ = pairs()
    clusters = found()
    named = [f"a photo of a {clusters.names[int(c)]}" for c in clusters.classes]
    assert named == captions  # "a photo of" is said of all, so it tells none


def test_coarse_clusters_cut_across_the_classes_along_the_light() -> None:
    _, _, _, _, lights = pairs()
    domains = found().domains
    assert torch.equal(domains, lights) or torch.equal(domains, 1 - lights)


def test_a_seed_gives_the_same_clusters() -> None:
    first, again = found(3), found(3)
    assert torch.equal(first.classes, again.classes) and first.names == again.names


def test_words_stand_in_the_order_of_the_captions() -> None:
    captions = ["a red cube", "one red cube", "a blue ball", "one green ball", "a can", "one can", "a mug", "one mug"]
    assert name_cluster(captions, torch.arange(8) < 2) == "red cube"


def test_a_cluster_without_a_word_of_its_own_has_no_name() -> None:
    assert name_cluster(["a cube"] * 4, torch.arange(4) < 2) == ""


def test_a_task_learns_in_one_domain_and_asks_in_another() -> None:
    _, _, _, classes, lights = pairs()
    episodes = Episodes(classes, lights, ways=5, shots=2, queries=3)
    task = episodes.draw(torch.Generator().manual_seed(1))
    assert task.support.shape == (5, 2) and task.query.shape == (5, 3)
    assert len(set(task.classes.tolist())) == 5
    assert (classes[task.support] == task.classes.unsqueeze(1)).all()
    assert (classes[task.query] == task.classes.unsqueeze(1)).all()
    source, target = lights[task.support].unique(), lights[task.query].unique()
    assert len(source) == len(target) == 1 and source != target


def test_a_crossing_can_be_fixed() -> None:
    _, _, _, classes, lights = pairs()
    episodes = Episodes(classes, lights, ways=2, shots=1, queries=1, crossings=[(1, 0)])
    rng = torch.Generator().manual_seed(0)
    assert all((lights[episodes.draw(rng).support] == 1).all() for _ in range(5))


def test_rows_without_a_class_are_never_drawn() -> None:
    classes, domains = torch.tensor([0, 0, 1, 1, -1, -1]), torch.tensor([0, 1, 0, 1, 0, 1])
    task = Episodes(classes, domains, ways=2, shots=1, queries=1).draw(torch.Generator().manual_seed(0))
    assert not {4, 5} & set(task.support.flatten().tolist() + task.query.flatten().tolist())


def test_tasks_that_cannot_be_had_are_refused() -> None:
    _, _, _, classes, lights = pairs()
    with pytest.raises(DataError, match=r"must share at least 17 classes.* got at most 16"):
        Episodes(classes, lights, ways=17, shots=1, queries=1)
    with pytest.raises(ConfigError, match="at least 2 ways"):
        Episodes(classes, lights, ways=1, shots=1, queries=1)


def test_pairs_that_do_not_fit_are_refused() -> None:
    images, texts, captions, _, _ = pairs()
    with pytest.raises(DataError, match="equally many, got 160, 160 and 159"):
        cluster_pairs(images, texts, captions[1:], classes=8, domains=2, seed=0)
    with pytest.raises(ConfigError, match=r"in \[2, 160\]"):
        cluster_pairs(images, texts, captions, classes=161, domains=2, seed=0)
