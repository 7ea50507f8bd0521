"""Data sets go to Minari and come back."""

import dataclasses
import json
import sys

import gymnasium as gym
import numpy as np
import pytest

from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.minari_io import export_minari, import_minari
from worldrl.data.replay import first_difference
from worldrl.errors import ConfigError, DataError

minari = pytest.importorskip("minari")
ARRAYS = ("frames", "labels", "proprio", "acts", "rews", "success", "states")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def test_a_data_set_comes_back_bit_for_bit(stored, tmp_path, env):
    path = export_minari(stored, "points/seek-v0")
    assert path == tmp_path / "minari" / "points" / "seek-v0"
    back = import_minari("points/seek-v0", tmp_path / "back")
    assert back.seeds == stored.seeds and back.policies == stored.policies
    for old, new in zip(stored, back, strict=True):
        for name in ARRAYS:
            assert np.array_equal(getattr(old, name), getattr(new, name)), name
        assert (old.end, old.trunc, dict(old.params)) == (new.end, new.trunc, dict(new.params))
        assert np.array_equal(old.fields["goal"], new.fields["goal"])
    for name in ("env_id", "env_kwargs", "objects", "frame_shape", "proprio_dim", "act_dim", "state_dim", "lacks"):
        assert getattr(back.manifest, name) == getattr(stored.manifest, name)
    assert first_difference(env, back[1], start=1) is None


def test_frames_large_enough_for_minari_to_take_for_pictures_lose_no_bit(tmp_path, record, about):
    (episode,) = record(0)
    shape = (len(episode) + 1, 40, 40)
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with DatasetWriter(tmp_path / "large", **about) as writer:
        writer.add(dataclasses.replace(episode, frames=noise, labels=np.zeros(shape, np.uint8)))
    export_minari(Dataset(tmp_path / "large"), "large-v0")
    assert np.array_equal(import_minari("large-v0", tmp_path / "back")[0].frames, noise)


def test_others_can_read_what_was_exported(stored):
    export_minari(stored.subset([3, 1]), "seek-v0")
    episodes = list(minari.load_dataset("seek-v0").iterate_episodes())
    assert [len(episode) for episode in episodes] == [len(stored[3]), len(stored[1])]
    assert np.array_equal(episodes[0].observations["image"], stored[3].frames)
    assert np.array_equal(episodes[1].infos["success"], stored[1].success)


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    "dataset_id",
    [
        "../x-v0",
        "/absolute/x-v0",
        "a/../../x-v0",
        "a\0-v0",
        "x" * 300 + "-v0",
        "p\u043eint-v0",
        "x",
        "",
        "x-v",
        "~/x-v0",
        "a//b-v0",
    ],
)
def test_a_bad_id_is_refused_before_any_folder_is_made(stored, tmp_path, dataset_id):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="dataset_id must be like 'namespace/name-v0'"):
        export_minari(stored, dataset_id)
    with pytest.raises(ConfigError, match="dataset_id must be like 'namespace/name-v0'"):
        import_minari(dataset_id, tmp_path / "back")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault(23)
def test_an_id_that_leads_out_through_a_link_is_refused(stored, tmp_path, root):
    (tmp_path / "outside").mkdir()
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="dataset_id must stay under"):
        export_minari(stored, "link/x-v0")
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_id_that_is_taken_is_refused(stored):
    export_minari(stored, "seek-v0")
    with pytest.raises(ConfigError, match="dataset_id must be free, got 'seek-v0'"):
        export_minari(stored, "seek-v0")


@pytest.mark.fault(6)
def test_a_failed_export_leaves_nothing(stored, root, monkeypatch):
    def fail(dataset):
        raise OSError("disk full")

    monkeypatch.setattr("worldrl.data.minari_io._buffers", fail)
    with pytest.raises(OSError, match="disk full"):
        export_minari(stored, "seek-v0")
    assert not (root / "seek-v0").exists()


def foreign(dataset_id, *, image=(6, 5, 3), dtype=np.uint8, limit=1.0, infos=None, steps=4):
    """Make a data set as somebody else would."""
    from minari.data_collector import EpisodeBuffer

    rng = np.random.default_rng(0)
    spaces = {"pixels": gym.spaces.Box(0, 255, image, dtype), "arm": gym.spaces.Box(-9, 9, (3,), np.float64)}
    buffer = EpisodeBuffer(
        observations={
            "pixels": rng.integers(0, 255, (steps + 1, *image)).astype(dtype),
            "arm": rng.random((steps + 1, 3)),
        },
        actions=limit * np.ones((steps, 2), np.float32),
        rewards=list(rng.random(steps)),
        terminations=[False] * (steps - 1) + [True],
        truncations=[False] * steps,
        infos=infos,
    )
    with pytest.warns(UserWarning, match="is set to None"):
        minari.create_dataset_from_buffers(
            dataset_id,
            [buffer],
            observation_space=gym.spaces.Dict(spaces),
            action_space=gym.spaces.Box(-limit, limit, (2,), np.float32),
            jpeg_encoding=False,
        )


NAMES = {"image": "pixels", "proprio": "arm"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_foreign_data_set_lacks_is_filled_in(tmp_path):
    foreign("foreign-v1", infos={"success": np.array([False, False, True, True])})
    dataset = import_minari("foreign-v1", tmp_path / "set", policy="somebody", **NAMES)
    (episode,) = dataset
    assert episode.frames.shape == (5, 6, 5, 3) and episode.proprio.dtype == np.float32
    assert not episode.labels.any() and episode.states.shape == (5, 0) and not episode.fields and not episode.params
    assert episode.success.tolist() == [False, False, False, True, True]
    assert (episode.seed, episode.policy, episode.end, episode.trunc) == (-1, "somebody", True, False)
    assert dataset.manifest.env_id == "foreign-v1" and dataset.manifest.objects == ()
    assert dataset.manifest.lacks == ("labels", "states")


@pytest.mark.fault(22)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        ({"image": (3, 6, 5)}, NAMES, r"frames must be \(t\+1, h, w, 3\), got \(5, 3, 6, 5\)"),
        ({"dtype": np.float32}, NAMES, "frames must be uint8, got float32"),
        ({"limit": 2.0}, NAMES, r"acts must be in \[-1, 1\]"),
        ({}, {}, "episode 0 of Minari's 'foreign-v1' cannot be used: 'image'.*'image' and 'proprio'"),
        ({"infos": {"success": np.zeros(2, bool)}}, NAMES, r"success must be \(5\), got \(2,\)"),
    ],
)
def test_a_foreign_data_set_of_another_form_is_refused(tmp_path, options, names, message):
    foreign("foreign-v1", **options)
    with pytest.raises(DataError, match=message):
        import_minari("foreign-v1", tmp_path / "set", **names)


@pytest.mark.fault(24)
def test_a_missing_or_damaged_data_set_is_named(stored, tmp_path, root):
    with pytest.raises(DataError, match=r"no Minari data set 'nothing-v0' in .*: minari download nothing-v0"):
        import_minari("nothing-v0", tmp_path / "back")
    export_minari(stored, "seek-v0")
    data = root / "seek-v0" / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"episode 0 of Minari's 'seek-v0' cannot be used: .*truncated"):
        import_minari("seek-v0", tmp_path / "back")
    (root / "seek-v0" / "data" / "metadata.json").write_text("{")
    with pytest.raises(DataError, match=r"is damaged.*export 'seek-v0' again"):
        import_minari("seek-v0", tmp_path / "back")


@pytest.mark.fault(10)
def test_an_environment_named_in_a_data_set_is_not_imported(stored, tmp_path, root):
    export_minari(stored, "seek-v0")
    path = root / "seek-v0" / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["observation_space"]
    metadata["env_spec"] = json.dumps({"id": "this:Evil-v0", "entry_point": "this:s"})
    path.write_text(json.dumps(metadata))
    with pytest.raises(DataError, match="must hold both spaces"):
        import_minari("seek-v0", tmp_path / "back")
    assert "this" not in sys.modules


@pytest.mark.fault(56)
def test_without_minari_the_extra_is_named(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ConfigError, match=r'need minari: pip install "worldrl\[minari\]"'):
        export_minari(stored, "seek-v0")
