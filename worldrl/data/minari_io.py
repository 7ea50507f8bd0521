"""Data sets in and out of Minari, the exchange format of the Farama projects.

Minari checks neither ids, before it makes folders, nor shapes and values; so both are checked here, before anything is
written. Frames are stored raw: its default would store them as JPEG, which loses bits.
"""

import importlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np

from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.episode import check_episode
from worldrl.errors import ConfigError, DataError
from worldrl.types import Array, Episode

_ID = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_-]{0,63}/){0,4}[A-Za-z0-9][A-Za-z0-9_-]{0,63}-v\d{1,4}", re.ASCII)
_NOTES = "worldrl"  # the key under which our own notes lie in Minari's metadata


def export_minari(dataset: Dataset, dataset_id: str) -> Path:
    """Write a data set, or a view of one, as the local Minari data set ``dataset_id``.

    Observations are ``{"image", "proprio"}``; labels, success, states and model fields are infos of each step;
    policy and parameters are metadata of each episode.

    Returns:
        The folder it was written to.

    Raises:
        ConfigError: If ``dataset_id`` is malformed or taken, or minari is not installed.
        DataError: If an episode is not sound.
    """
    minari = _minari(dataset_id)
    path = _path(dataset_id)
    if path.exists():
        raise ConfigError(f"dataset_id must be free, got '{dataset_id}': {path} exists, choose another version.")
    for episode in dataset:
        check_episode(episode)
    try:
        _write(minari, dataset, dataset_id)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def import_minari(
    dataset_id: str,
    folder: Path | str,
    *,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    policy: str = "imported",
    image: str = "image",
    proprio: str = "proprio",
    episodes_per_shard: int = 25,
) -> Dataset:
    """Append the local Minari data set ``dataset_id`` to the data set ``folder``.

    What `export_minari` wrote comes back bit for bit. A foreign data set must have dictionary observations with a
    uint8 ``(h, w, 3)`` image and a flat vector, and actions in ``[-1, 1]``. What it lacks is filled in: labels with
    zeros, states with empty rows (``s = 0``: such episodes cannot be replayed), ``info["success"]`` with False, seeds
    with -1. The manifest names labels, states and success under ``lacks`` where its first episode does not say them.

    Args:
        dataset_id: Its Minari id.
        folder: The data set; made if it is not there.
        env_id: The environment's id for the manifest; None for what the data set says, or its own id.
        env_kwargs: Likewise its keyword arguments.
        policy: Who acted, where the data set does not say.
        image: The name of the image among its observations.
        proprio: The name of the vector among its observations.
        episodes_per_shard: Episodes in a full shard.

    Raises:
        ConfigError: If ``dataset_id`` is malformed, or minari is not installed.
        DataError: If it is not there, damaged, or not of that form.
    """
    minari = _minari(dataset_id)
    source, notes = _load(minari, dataset_id)
    about: dict[str, Any] = {
        "env_id": env_id or notes.get("env_id", dataset_id),
        "env_kwargs": notes.get("env_kwargs", {}) if env_kwargs is None else env_kwargs,
        "objects": notes.get("objects", []),
        "lacks": notes["lacks"] if "lacks" in notes else _lacks(source, dataset_id, image=image, proprio=proprio),
    }
    with DatasetWriter(folder, **about, episodes_per_shard=episodes_per_shard) as writer:
        for index in range(source.total_episodes):
            writer.add(_read(source, dataset_id, index, image=image, proprio=proprio, policy=policy))
    return Dataset(folder)


def _minari(dataset_id: str) -> ModuleType:
    """Import Minari, once the id is known to stay under its root."""
    if not _ID.fullmatch(dataset_id):
        raise ConfigError(f"dataset_id must be like 'namespace/name-v0' in plain ASCII, got {dataset_id!r}.")
    try:
        import minari

        importlib.import_module("h5py")  # its absence would show only later
    except ImportError as error:
        raise ConfigError('Minari data sets need minari: pip install "worldrl[minari]".') from error
    module: ModuleType = minari
    return module


def _path(dataset_id: str) -> Path:
    """Return the folder of a data set, which may not leave Minari's root through a link."""
    from minari.storage import get_dataset_path

    root, path = Path(get_dataset_path()).resolve(), Path(get_dataset_path(dataset_id))
    if not path.resolve().is_relative_to(root):
        raise ConfigError(f"dataset_id must stay under {root}, got '{dataset_id}', which leads to {path.resolve()}.")
    return path


def _write(minari: ModuleType, dataset: Dataset, dataset_id: str) -> None:
    manifest = dataset.manifest
    image = gym.spaces.Box(0, 255, manifest.frame_shape, np.uint8)
    proprio = gym.spaces.Box(-np.inf, np.inf, (manifest.proprio_dim,), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it misses an author and an environment to make again
        written = minari.create_dataset_from_buffers(
            dataset_id,
            [],
            observation_space=gym.spaces.Dict({"image": image, "proprio": proprio}),
            action_space=gym.spaces.Box(-1, 1, (manifest.act_dim,), np.float32),
            algorithm_name=", ".join(sorted(set(dataset.policies))),
            description=f"{len(dataset)} episodes of {manifest.env_id}, recorded with worldrl.",
            jpeg_encoding=False,
        )
    storage = written.storage
    storage.update_episodes(_buffers(dataset))
    storage.update_episode_metadata(
        [{"policy": episode.policy, "params": json.dumps(dict(episode.params))} for episode in dataset],
        range(len(dataset)),
    )
    notes = {"env_id": manifest.env_id, "env_kwargs": manifest.env_kwargs, "objects": list(manifest.objects)}
    notes["lacks"] = list(manifest.lacks)
    storage.update_metadata({_NOTES: notes})


def _buffers(dataset: Dataset) -> Iterator[Any]:
    """Yield Minari's buffers one at a time, so that memory holds one episode."""
    from minari.data_collector import EpisodeBuffer

    for episode in dataset:
        last = np.arange(len(episode)) == len(episode) - 1
        infos: dict[str, Any] = {"labels": episode.labels, "success": episode.success}
        if episode.states.size:
            infos["states"] = episode.states
        if episode.fields:
            infos["fields"] = {name: np.asarray(array)[None] for name, array in episode.fields.items()}
        yield EpisodeBuffer(
            seed=episode.seed,
            observations={"image": episode.frames, "proprio": episode.proprio},
            actions=episode.acts,
            rewards=episode.rews,
            terminations=last & episode.end,
            truncations=last & episode.trunc,
            infos=infos,
        )


def _load(minari: ModuleType, dataset_id: str) -> tuple[Any, dict[str, Any]]:
    """Open a Minari data set and our notes in it, without building an environment that it names."""
    data = _path(dataset_id) / "data"
    try:
        stored = json.loads((data / "metadata.json").read_text())
        spaces = {"observation_space", "action_space"} & set(stored)
        if len(spaces) < 2:  # Minari would import and make whatever environment is named
            raise DataError(f"{data}/metadata.json must hold both spaces, got {sorted(spaces)}: export it again.")
        notes = stored.get(_NOTES)
        return minari.load_dataset(dataset_id), notes if isinstance(notes, dict) else {}
    except FileNotFoundError as error:
        raise DataError(f"no Minari data set '{dataset_id}' in {data.parent}: minari download {dataset_id}.") from error
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{data} is damaged: {error}. Download or export '{dataset_id}' again.") from error


def _read(source: Any, dataset_id: str, index: int, **names: str) -> Episode:
    with _usable(dataset_id, index, **names):
        data = next(iter(source.iterate_episodes([index])))
        extras = next(iter(source.storage.get_episode_metadata([index])))
        return _episode(data, extras, **names)


def _lacks(source: Any, dataset_id: str, **names: str) -> list[str]:
    """Return what a foreign data set does not say, going by its first episode."""
    with _usable(dataset_id, 0, **names):
        infos = next(iter(source.iterate_episodes([0]))).infos or {}
        return [name for name in ("labels", "states", "success") if name not in infos]


@contextmanager
def _usable(dataset_id: str, index: int, **names: str) -> Iterator[None]:
    """Turn what a damaged or foreign episode makes go wrong into one sentence."""
    try:
        yield
    except (OSError, KeyError, IndexError, TypeError, ValueError, AssertionError) as error:
        raise DataError(
            f"episode {index} of Minari's '{dataset_id}' cannot be used: {error}. It must have observations "
            f"'{names['image']}' and '{names['proprio']}'; download it again if it is damaged."
        ) from error


def _episode(data: Any, extras: Mapping[str, Any], *, image: str, proprio: str, policy: str) -> Episode:
    """Turn one episode of Minari into ours; KeyError, TypeError and ValueError say what is wrong."""
    infos = data.infos or {}
    frames, rows = data.observations[image], len(data.actions) + 1
    success = np.asarray(infos.get("success", np.zeros(rows)), dtype=np.bool_)
    return Episode(
        frames=frames,
        labels=infos.get("labels", np.zeros(frames.shape[:3], dtype=np.uint8)),
        proprio=_float32(data.observations[proprio]),
        acts=_float32(data.actions),
        rews=_float32(data.rewards),
        success=np.insert(success, 0, False) if len(success) == rows - 1 else success,
        states=infos.get("states", np.zeros((rows, 0))),
        end=bool(data.terminations[-1]),
        trunc=bool(data.truncations[-1]),
        seed=int(extras.get("seed", -1)),
        policy=str(extras.get("policy", policy)),
        fields={name: array[0] for name, array in infos.get("fields", {}).items()},
        params=json.loads(extras.get("params", "{}")),
    )


def _float32(array: Array) -> Array:
    """Return floating-point numbers, of whatever width Minari keeps them in, as float32."""
    if array.dtype.kind != "f":
        raise TypeError(f"observations, actions and rewards must be floating point, got {array.dtype}")
    return array.astype(np.float32)
