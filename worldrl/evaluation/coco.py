"""Average precision of boxes as COCO counts it, by a library that is kept for it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from worldrl.data.coco import coco_record
from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError
from worldrl.scene import SHAPES
from worldrl.types import Array

MOST = 100
"""Boxes of a picture that count."""


def average_precision(
    scenes: SceneSet,
    scores: Array,
    boxes: Array,
    *,
    categories: tuple[str, ...] = SHAPES,
    ignore_names: bool = False,
) -> dict[str, float]:
    """Return ``map`` (mean over IoU 0.5 to 0.95), ``map_50`` and ``map_75`` of boxes, in [0, 1].

    Args:
        scenes: What is really there.
        scores: ``(n, q, c)`` of every box for every class.
        boxes: ``(n, q, 4)`` left, top, right, bottom in shares of the picture.
        categories: The classes that the last axis of the scores is of; things of others do not count.
        ignore_names: Whether only the place counts, the best class being each box's score.

    Raises:
        ConfigError: If the library is not installed.
        ValueError: If the shapes do not fit the scenes.
    """
    if scores.shape != (len(scenes), boxes.shape[1], len(categories)) or boxes.shape[::2] != (len(scenes), 4):
        raise ValueError(f"scores and boxes must be of {len(scenes)} scenes, got {scores.shape} and {boxes.shape}.")
    truth = _truth(scenes, categories, ignore_names)
    found = scores.max(axis=-1, keepdims=True) if ignore_names else scores
    rows = list(_rows(found, boxes, scenes.size))
    coco, evaluate = _library()
    real = coco(truth)
    judge = evaluate(real, real.loadRes(rows), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return dict(zip(("map", "map_50", "map_75"), (max(float(x), 0.0) for x in judge.stats[:3]), strict=True))


def _truth(scenes: SceneSet, categories: tuple[str, ...], ignore_names: bool) -> dict[str, Any]:
    record = coco_record(scenes, categories=categories)
    if ignore_names:
        record["categories"] = [{"id": 1, "name": "thing"}]
        record["annotations"] = [one | {"category_id": 1} for one in record["annotations"]]
    return record


def _rows(scores: Array, boxes: Array, pixels: int) -> Iterator[dict[str, Any]]:
    """Yield each picture's best boxes as COCO writes them."""
    for i, (row, places) in enumerate(zip(scores, boxes * pixels, strict=True)):
        for flat in np.argsort(-row, axis=None)[:MOST]:
            if row.flat[flat] <= 0.0:
                break  # a box that nobody stands by is none, and the rest are no better
            query, label = divmod(int(flat), row.shape[1])
            left, top, right, bottom = (float(side) for side in places[query])
            yield {
                "image_id": i + 1, "category_id": label + 1, "score": float(row[query, label]),
                "bbox": [left, top, right - left, bottom - top],
            }  # fmt: skip


def _library() -> tuple[Any, Any]:
    """Return the library's two classes.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ConfigError('average precision needs faster-coco-eval: pip install "worldrl[detection]".') from error
    return COCO, COCOeval_faster
