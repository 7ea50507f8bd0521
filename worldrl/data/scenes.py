"""Labelled scenes on disk: arrays that are mapped, not read, and one file that says what is in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl import checkpoint
from worldrl.errors import DataError
from worldrl.scene import Camera, Scene, Thing
from worldrl.types import Array

VERSION = 1
"""Of the layout; scenes of another one are refused."""
LIMIT = 2000
"""Scenes of one folder at most."""
FILE = "scenes.json"
ARRAYS = {"images": np.uint8, "instances": np.uint8, "depth": np.float16}


class SceneSet:
    """Labelled scenes of one folder.

    Args:
        folder: Made by ``write_scenes``.

    Attributes:
        images: ``(n, h, w, 3)`` uint8, mapped.
        instances: ``(n, h, w)`` uint8, mapped: 0 none, ``i + 1`` the ``i``-th thing of the scene.
        depth: ``(n, h, w)`` float16, mapped, metres; half a millimetre coarse at a metre.
        meta: What the maker said of them: seed, domain, names.

    Raises:
        DataError: If there are no scenes, they are damaged, or of another version.
    """

    images: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float16]

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        record = _read(self.folder)
        self.meta: dict[str, Any] = record["meta"]
        self._rows: list[dict[str, Any]] = record["scenes"]
        for name in ARRAYS:
            setattr(self, name, self._map(name, record.get("files", {})))

    @property
    def size(self) -> int:
        """Height and width of a picture, pixels."""
        return int(self.images.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Scene:
        return Scene(
            np.array(self.images[index]),
            np.array(self.instances[index]),
            self.depth[index].astype(np.float32),
            *_told(self._rows[index]),
        )

    def things(self, index: int) -> tuple[Thing, ...]:
        """Return the things of a scene, without reading its pictures."""
        return tuple(_thing(one) for one in self._rows[index]["things"])

    def captions(self, index: int) -> tuple[str, ...]:
        """Return the captions of a scene, without reading its pictures."""
        return tuple(self._rows[index]["captions"])

    def questions(self, index: int) -> tuple[tuple[str, str], ...]:
        """Return the questions about a scene and their answers, without reading its pictures."""
        return tuple((question, answer) for question, answer in self._rows[index]["questions"])

    def _map(self, name: str, files: dict[str, str]) -> Array:
        path = self.folder / f"{name}.npy"
        try:
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = files.get(path.name) in (None, checkpoint.sha256(path))
            fits = array.ndim == (4 if name == "images" else 3)
        except Exception as error:  # numpy answers a damaged file with whatever its reader trips over
            raise DataError(f"{path} cannot be read ({error}): make the scenes again.") from error
        if not whole or not fits:
            raise DataError(f"{path} is not what was written: make the scenes again.")
        if len(array) != len(self._rows) or array.dtype != ARRAYS[name]:
            raise DataError(
                f"{path} must hold {len(self._rows)} scenes as {np.dtype(ARRAYS[name])}, got {len(array)} as "
                f"{array.dtype}: make the scenes again."
            )
        return array


def read_scenes(folder: Path) -> SceneSet:
    """Open labelled scenes.

    Raises:
        DataError: If there are none, they are damaged, or of another version.
    """
    return SceneSet(folder)


def write_scenes(folder: Path, scenes: Iterable[Scene], *, meta: dict[str, Any]) -> SceneSet:
    """Write scenes into a new folder, all or nothing.

    Args:
        folder: Where they go; must not be there yet.
        scenes: At least one, all of one size.
        meta: What is to be known of how they were made, as plain JSON.

    Raises:
        DataError: If the folder is there already, or there is no scene or more than ``LIMIT``.
    """
    folder = Path(folder)
    if folder.exists():
        raise DataError(f"{folder} is there already: name another folder, or remove it.")
    kept = list(scenes)
    if not 1 <= len(kept) <= LIMIT:
        raise DataError(f"scenes must be 1 to {LIMIT} a folder, got {len(kept)}: write more of them into several.")

    def write(staged: Path) -> None:
        for name, attribute in {"images": "image", "instances": "instances", "depth": "depth"}.items():
            rows = np.stack([getattr(scene, attribute) for scene in kept]).astype(ARRAYS[name])
            np.save(staged / f"{name}.npy", rows, allow_pickle=False)
        files = {file.name: checkpoint.sha256(file) for file in sorted(staged.iterdir())}
        record = {"version": VERSION, "meta": meta, "scenes": [_row(scene) for scene in kept], "files": files}
        checkpoint.write_json(staged / FILE, record)

    checkpoint.commit(folder, write)
    return SceneSet(folder)


def _read(folder: Path) -> dict[str, Any]:
    if not (folder / FILE).exists():
        raise DataError(f"no scenes in {folder}: make some with worldrl scenes make out={folder}.")
    try:
        record: dict[str, Any] = checkpoint.read_json(folder / FILE)
        version = record["version"]
        for row in record["scenes"]:
            _told(row)
        if not isinstance(record["meta"], dict) or not isinstance(record.get("files", {}), dict):
            raise TypeError("meta and files must be objects")
    except Exception as error:
        raise DataError(f"{folder / FILE} cannot be read: make the scenes again.") from error
    if version != VERSION:
        raise DataError(
            f"{folder / FILE} must be of version {VERSION}, got {version}: make the scenes again with this release."
        )
    return record


def _row(scene: Scene) -> dict[str, Any]:
    camera = scene.camera
    return {
        "camera": {
            "focal": camera.focal, "centre": list(camera.centre),
            "rotation": np.asarray(camera.rotation).tolist(), "position": np.asarray(camera.position).tolist(),
        },
        "ground": np.asarray(scene.ground).tolist(),
        "things": [
            {
                "shape": thing.shape, "colour": thing.colour, "box": np.asarray(thing.box).tolist(),
                "centre": np.asarray(thing.centre).tolist(), "size": np.asarray(thing.size).tolist(),
                "rotation": np.asarray(thing.rotation).tolist(), "visible": float(thing.visible),
            }
            for thing in scene.things
        ],
        "captions": list(scene.captions),
        "questions": [list(pair) for pair in scene.questions],
    }  # fmt: skip


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what is told of a scene beside its pictures, in the order of ``Scene``."""
    return (
        tuple(_thing(one) for one in row["things"]),
        _camera(row["camera"]),
        np.array(row["ground"], np.float64),
        tuple(row["captions"]),
        tuple((question, answer) for question, answer in row["questions"]),
    )


def _thing(row: dict[str, Any]) -> Thing:
    arrays = {name: np.array(row[name], np.float64) for name in ("centre", "size", "rotation")}
    box, visible = np.array(row["box"], np.float32), float(row["visible"])
    return Thing(row["shape"], row["colour"], box, visible=visible, **arrays)


def _camera(row: dict[str, Any]) -> Camera:
    x, y = row["centre"]
    rotation, position = np.array(row["rotation"], np.float64), np.array(row["position"], np.float64)
    return Camera(float(row["focal"]), (float(x), float(y)), rotation, position)
