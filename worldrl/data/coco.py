"""Labelled scenes in the form of COCO, for the tools that read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl import checkpoint
from worldrl.data.scenes import SceneSet
from worldrl.errors import DataError
from worldrl.scene import SHAPES


def coco_record(scenes: SceneSet, *, categories: Sequence[str] = SHAPES) -> dict[str, Any]:
    """Return the annotations of scenes as COCO has them: ids from one, boxes as left, top, width, height in pixels.

    Masks are run lengths, column by column. Beyond what COCO knows, an annotation has its ``colour`` and its oriented
    box in space (``centre``, ``size``, ``rotation``), and an image its camera's ``focal`` length in pixels.

    Args:
        scenes: Whose.
        categories: Shapes, or names of colour and shape; things of others are left out.
    """
    numbers = {name: number for number, name in enumerate(categories, start=1)}
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for i in range(len(scenes)):
        size, instances = scenes.size, np.array(scenes.instances[i])
        images.append(
            {
                "id": i + 1, "file_name": f"{i:05d}.png", "height": size, "width": size,
                "focal": scenes[i].camera.focal, "captions": list(scenes.captions(i)),
            }
        )  # fmt: skip
        for label, thing in enumerate(scenes.things(i), start=1):
            number = numbers.get(thing.shape) or numbers.get(thing.name)
            if number is None:
                continue
            left, top, right, bottom = (float(side) for side in thing.box)
            mask = instances == label
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": i + 1, "category_id": number, "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top], "area": int(mask.sum()),
                    "segmentation": {"size": [size, size], "counts": run_lengths(mask)},
                    "colour": thing.colour, "centre": thing.centre.tolist(), "size": thing.size.tolist(),
                    "rotation": thing.rotation.tolist(),
                }
            )  # fmt: skip
    return {
        "info": {"description": "worldrl labelled scenes", **scenes.meta},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def export_coco(scenes: SceneSet, folder: Path) -> Path:
    """Write ``instances.json`` and ``images/*.png`` into a new folder and return the file.

    Raises:
        DataError: If the folder is there already.
    """
    import imageio.v3 as iio

    folder = Path(folder)
    if folder.exists():
        raise DataError(f"{folder} is there already: name another folder, or remove it.")

    def write(staged: Path) -> None:
        (staged / "images").mkdir()
        for i in range(len(scenes)):
            iio.imwrite(staged / "images" / f"{i:05d}.png", scenes.images[i])
        checkpoint.write_json(staged / "instances.json", coco_record(scenes))

    checkpoint.commit(folder, write)
    return folder / "instances.json"


def run_lengths(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Return a mask ``(h, w)`` as lengths of runs, column by column, beginning with how many are not of it."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [-1]])
    return [int(run) for run in np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))]))]
