"""Episodes on disk come back as they went, or not at all."""

import dataclasses
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from worldrl.data.claims import claim_writer, release_writer
from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.manifest import put_manifest
from worldrl.errors import ConfigError, DataError, StorageError

ARRAYS = ("frames", "labels", "proprio", "acts", "rews", "success", "states")


def assert_same(first, second):
    for name in ARRAYS:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
        assert getattr(first, name).dtype == getattr(second, name).dtype
    for name in ("end", "trunc", "seed", "policy", "params"):
        assert getattr(first, name) == getattr(second, name)
    assert first.fields.keys() == second.fields.keys()
    assert all(np.array_equal(first.fields[name], second.fields[name]) for name in first.fields)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_episodes_come_back_as_they_were(stored, record):
    assert names(stored.folder) == ["manifest.json", *(f"shard-00000-0000{i}" for i in range(3))]
    assert len(stored) == 5 and stored.seeds == [0, 1, 2, 3, 4]
    for read, made in zip(stored, record(0, 1, 2, 3, 4), strict=True):
        assert_same(read, made)
    assert stored[-1].seed == 4
    with pytest.raises(IndexError):
        stored[5]


def test_arrays_are_memory_maps_that_nobody_can_write(stored):
    episode = stored[2]
    assert all(isinstance(getattr(episode, name), np.memmap) for name in ARRAYS)
    with pytest.raises(ValueError, match="read-only"):
        episode.frames[0] = 0


def test_data_sets_are_told_apart(stored, tmp_path):
    again = Dataset(stored.folder)
    assert again.identity() == stored.identity() != stored.subset([0, 1]).identity()
    shutil.copytree(stored.folder, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest | {"env_kwargs": {"size": 1}}))
    assert Dataset(tmp_path / "other").identity() != stored.identity()


def test_lengths_and_steps_are_counted(stored, record):
    lengths = [len(episode) for episode in record(0, 1, 2, 3, 4)]
    assert stored.lengths.tolist() == lengths and stored.num_steps == sum(lengths)


def test_the_manifest_says_where_the_episodes_come_from(stored):
    manifest = json.loads((stored.folder / "manifest.json").read_text())
    assert manifest["env_id"] == "PointMass-v0" and manifest["env_kwargs"] == {"size": 8}
    assert stored.manifest.objects == ("point", "goal") and stored.manifest.frame_shape == (8, 8, 3)
    assert (stored.manifest.proprio_dim, stored.manifest.act_dim, stored.manifest.state_dim) == (2, 2, 3)
    assert {"python", "worldrl", "mujoco", "gymnasium", "numpy"} == manifest["versions"].keys()
    assert manifest["versions"]["numpy"] == np.__version__ and manifest["format"] == 1


def test_appending_keeps_what_was_there_and_comes_after_it(stored, record, about):
    with DatasetWriter(stored.folder, **about) as writer:
        for episode in record(7, 8, policy="again"):
            writer.add(episode)
    grown = Dataset(stored.folder)
    assert grown.seeds == [0, 1, 2, 3, 4, 7, 8] and grown.policies == ["seek"] * 5 + ["again"] * 2


def test_views_choose_episodes(stored, record, about):
    with DatasetWriter(stored.folder, **about) as writer:
        writer.add(record(9, policy="other")[0])
    dataset = Dataset(stored.folder)
    assert dataset.select(policy="other").seeds == [9]
    view = dataset.subset([4, 0])
    assert view.seeds == [4, 0] and view.num_steps == view.lengths.sum() and len(dataset) == 6
    assert_same(view[0], dataset[4])
    with pytest.raises(DataError, match=r"policy must be one of other, seek in .*, got 'expert'.*worldrl collect"):
        dataset.select(policy="expert")
    with pytest.raises(DataError, match="must have at least 1 of its 6 episodes, got 0"):
        dataset.subset([])
    with pytest.raises(DataError, match="indices must be below 6"):
        dataset.subset([6])


def test_a_data_set_travels_to_another_process_without_its_data(stored):
    full = stored[0].frames.copy()
    parcel = pickle.dumps(stored)
    assert len(parcel) < 10_000
    assert np.array_equal(pickle.loads(parcel)[0].frames, full)


@pytest.mark.fault(63)
def test_more_shards_than_file_descriptors_can_be_read(tmp_path, record, about):
    (episode,) = record(0)
    with DatasetWriter(tmp_path, **about, episodes_per_shard=1) as writer:
        for seed in range(24):
            writer.add(dataclasses.replace(episode, seed=seed))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 140, hard))  # 24 shards have 168 arrays
    try:
        assert [e.seed for e in Dataset(tmp_path) if e.frames[0].any()] == list(range(24))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_episodes_without_states_and_fields_can_be_stored(tmp_path, record, about):
    (episode,) = record(0)
    bare = dataclasses.replace(episode, states=np.zeros((len(episode) + 1, 0)), fields={}, params={})
    with DatasetWriter(tmp_path, **about) as writer:
        writer.add(bare)
    assert_same(Dataset(tmp_path)[0], bare)


def test_an_exception_leaves_what_is_whole(tmp_path, record, about):
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path, **about, episodes_per_shard=2) as writer:
        for episode in record(0, 1, 2):
            writer.add(episode)
        raise KeyboardInterrupt
    assert Dataset(tmp_path).seeds == [0, 1, 2]
    assert names(tmp_path) == ["manifest.json", "shard-00000-00000", "shard-00000-00001"]


@pytest.mark.fault(20)
def test_an_unsound_episode_is_refused_and_the_others_stay(tmp_path, record, about):
    first, second = record(0, 1)
    bad = dataclasses.replace(second, rews=np.full_like(second.rews, np.nan))
    with (
        pytest.raises(DataError, match="episode with seed 1: rews must be finite"),
        DatasetWriter(tmp_path, **about) as writer,
    ):
        writer.add(first)
        writer.add(bad)
    assert Dataset(tmp_path).seeds == [0]


@pytest.mark.fault(25)
def test_a_killed_writer_loses_only_its_unfinished_shard(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from point_mass import PointMass, seek\n"
        "from worldrl.data.dataset import DatasetWriter\n"
        "from worldrl.data.rollout import roll_out\n"
        "import dataclasses, itertools, numpy as np\n"
        "[episode] = roll_out([PointMass()], seek, seeds=[0], record=True)\n"
        "about = dict(env_id='PointMass-v0', env_kwargs={}, objects=('point', 'goal'))\n"
        "with DatasetWriter(sys.argv[2], **about, episodes_per_shard=3) as writer:\n"
        "    for seed in itertools.count():\n"
        "        writer.add(dataclasses.replace(episode, seed=seed))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "shard-00000-00008").exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
    finally:
        child.kill()
    dataset = Dataset(tmp_path)
    assert len(dataset) >= 27 and dataset.seeds == list(range(len(dataset))) and len(dataset) % 3 == 0
    assert all(episode.frames[:].size and episode.states[:].size for episode in dataset)

    (tmp_path / ".tmp-shard-00000-99999-1").mkdir()  # what a kill in the middle of a shard leaves
    number = claim_writer(tmp_path)
    assert number == 1 and not [name for name in names(tmp_path) if name.startswith(".tmp")]


@pytest.mark.fault(26)
def test_writers_side_by_side_do_not_touch_each_other(tmp_path, record, about):
    one, two = DatasetWriter(tmp_path, **about), DatasetWriter(tmp_path, **about)
    with two, one:
        two.add(record(2)[0])
        one.add(record(1)[0])
    assert Dataset(tmp_path).seeds == [1, 2]
    with DatasetWriter(tmp_path, **about) as three:
        three.add(record(3)[0])
    assert Dataset(tmp_path).seeds == [1, 2, 3]


@pytest.mark.fault(26)
def test_a_writer_number_is_given_out_once(tmp_path):
    assert [claim_writer(tmp_path) for _ in range(3)] == [0, 1, 2]
    release_writer(tmp_path, 2)
    assert claim_writer(tmp_path) == 2


@pytest.mark.fault(26)
def test_a_writer_number_with_shards_is_not_written_over(stored, about):
    with pytest.raises(DataError, match="writer must be free, got 0"):
        DatasetWriter(stored.folder, **about, writer=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env_id": "Other-v0"}, "env_id must be 'PointMass-v0' to append to .*, got 'Other-v0'"),
        ({"objects": ("goal", "point")}, r"objects must be \('point', 'goal'\) to append"),
        ({"env_kwargs": {"size": 9}}, "env_kwargs must be {'size': 8} to append"),
    ],
)
def test_another_environment_is_not_mixed_in(stored, about, change, message):
    with pytest.raises(DataError, match=message):
        DatasetWriter(stored.folder, **{**about, **change})


@pytest.mark.fault(19)
def test_another_shape_is_not_mixed_in(stored, record, about):
    (episode,) = record(0)
    wide = dataclasses.replace(episode, acts=np.zeros((len(episode), 3), np.float32))
    with (
        pytest.raises(DataError, match=r"act_dim must be 2 to append to .*, got 3"),
        DatasetWriter(stored.folder, **about) as writer,
    ):
        writer.add(wide)
    assert len(Dataset(stored.folder)) == 5


def test_the_first_manifest_stands(stored):
    later = dataclasses.replace(stored.manifest, created="later")
    assert put_manifest(stored.folder, later) == stored.manifest
    with pytest.raises(DataError, match="proprio_dim must be 2"):
        put_manifest(stored.folder, dataclasses.replace(stored.manifest, proprio_dim=5))


def test_bad_options_are_refused(tmp_path, about):
    with pytest.raises(ValueError, match="episodes_per_shard must be at least 1, got 0"):
        DatasetWriter(tmp_path, **about, episodes_per_shard=0)
    with pytest.raises(ConfigError, match="env_kwargs must be plain JSON values"):
        DatasetWriter(tmp_path, **{**about, "env_kwargs": {"rng": object()}})
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        DatasetWriter(tmp_path / "file" / "set", **about)


@pytest.mark.fault(24)
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.99])
@pytest.mark.parametrize(
    "name", ["frames.npy", "acts.npy", "states.npy", "success.npy", "fields.npz", "episodes.json", "manifest.json"]
)
def test_a_truncated_file_is_named(stored, name, share):
    path = stored.folder / ("" if name == "manifest.json" else "shard-00000-00001") / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=f"{name} .*worldrl collect"):
        Dataset(stored.folder)[2]


@pytest.mark.fault(24)
@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "fields.npz", "episodes.json"])
def test_a_missing_file_is_named(stored, name):
    (stored.folder / "shard-00000-00002" / name).unlink()
    with pytest.raises(DataError, match=f"shard-00000-00002/{name} is damaged: .*Delete .*worldrl collect"):
        Dataset(stored.folder)[4]


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "value",
    [
        {"episodes": 3},
        {},
        [],
        {"episodes": [{"start": 0}]},
        {
            "episodes": [
                {"start": 0, "length": "4", "seed": 0, "policy": "", "end": False, "trunc": False, "params": {}}
            ]
        },
        {"episodes": [{"start": 5, "length": 4, "seed": 0, "policy": "", "end": False, "trunc": False, "params": {}}]},
        {"episodes": [{"start": 0, "length": 4, "seed": 0, "policy": "", "end": False, "trunc": False, "params": {}}]},
    ],
)
def test_episodes_that_do_not_fit_their_arrays_are_refused(stored, value):
    (stored.folder / "shard-00000-00000" / "episodes.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"shard-00000-00000/\w+\.\w+ is damaged"):
        Dataset(stored.folder)


@pytest.mark.fault(31)
def test_arrays_of_another_shape_or_with_objects_are_refused(stored, tmp_path):
    path = stored.folder / "shard-00000-00000" / "proprio.npy"
    np.save(path, np.load(path).astype(np.float64))
    with pytest.raises(DataError, match=r"proprio.npy is damaged: must be .* float32, got .* float64"):
        Dataset(stored.folder)
    np.save(path, np.array([{"evil": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"proprio.npy is damaged"):
        Dataset(stored.folder)
    np.savez(path.with_name("fields.npz"), **{"0/goal": np.array([{"evil": 1}])})
    shutil.copy(stored.folder / "shard-00000-00001" / "proprio.npy", path)
    with pytest.raises(DataError, match="is damaged"):
        Dataset(stored.folder)[0]


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("acts", 5.0, r"acts.npy is damaged: must be in \[-1, 1\], got 5.0"),
        ("acts", np.nan, "acts.npy is damaged: must be finite, got nan"),
        ("proprio", np.inf, "proprio.npy is damaged: must be finite, got inf"),
        ("rews", np.nan, "rews.npy is damaged: must be finite"),
    ],
)
def test_numbers_that_cannot_be_are_named(stored, name, number, message):
    path = stored.folder / "shard-00000-00001" / f"{name}.npy"
    array = np.load(path)
    array[1] = number
    np.save(path, array)
    with pytest.raises(DataError, match=message):
        Dataset(stored.folder)


@pytest.mark.fault(24)
def test_a_damaged_shard_can_be_deleted_as_the_message_says(stored):
    (stored.folder / "shard-00000-00001" / "acts.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"acts.npy is damaged"):
        Dataset(stored.folder)
    shutil.rmtree(stored.folder / "shard-00000-00001")
    assert Dataset(stored.folder).seeds == [0, 1, 4]


@pytest.mark.fault(11, 13)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"manifest.json must have a format of at most 1, got 2: upgrade worldrl"),
        ({"format": None}, "must name its format, got None: that is not a data set of worldrl"),
        ({"act_dim": "two"}, "manifest.json is damaged"),
        ({"frame_shape": [8, 8]}, "manifest.json is damaged"),
        ({"objects": "point"}, "manifest.json is damaged"),
        ({"act_dim": 7}, r"acts.npy is damaged: must be \(\d+, 7\) float32"),
    ],
)
def test_a_foreign_or_newer_manifest_is_refused(stored, change, message):
    path = stored.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        Dataset(stored.folder)


@pytest.mark.fault(36)
def test_where_nothing_was_recorded_it_says_so(tmp_path, stored):
    mend = "record some with worldrl collect"
    with pytest.raises(DataError, match=f"no episodes in .*/nowhere .*{mend}"):
        Dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"no episodes in .*/empty .*no manifest.json.*{mend}"):
        Dataset(tmp_path / "empty")
    for shard in stored.folder.glob("shard-*"):
        shutil.rmtree(shard)
    with pytest.raises(DataError, match=f"no episodes in .*/set: {mend}"):
        Dataset(stored.folder)


@pytest.mark.fault(23)
def test_something_else_named_like_a_shard_is_refused(stored):
    (stored.folder / "shard-copy").mkdir()
    with pytest.raises(DataError, match="shard-copy must be a folder named shard-<writer>-<number>"):
        Dataset(stored.folder)


@pytest.mark.fault(3)
def test_half_written_shards_are_not_seen(stored):
    shutil.copytree(stored.folder / "shard-00000-00000", stored.folder / ".tmp-shard-00009-00000-1")
    assert len(Dataset(stored.folder)) == 5
