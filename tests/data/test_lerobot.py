"""LeRobot v3: what goes out comes back, and what is damaged, foreign or malicious is refused in one sentence."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldrl.data.dataset import Dataset
from worldrl.data.lerobot_info import DATA, fill, read_info
from worldrl.data.lerobot_read import import_lerobot
from worldrl.data.lerobot_write import export_lerobot
from worldrl.errors import ConfigError, DataError

pq = pytest.importorskip("pyarrow.parquet")
ALIKE = ("frames", "proprio", "acts", "rews", "success")


@pytest.fixture
def exported(stored: Dataset, tmp_path: Path) -> Path:
    return export_lerobot(stored, tmp_path / "lerobot")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def columns(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite one parquet file."""
    import pyarrow

    table = pq.read_table(path)
    told = table.to_pydict()
    edit(told)
    pq.write_table(pyarrow.table(told, schema=table.schema), path)


def data_file(root: Path) -> Path:
    return root / "data" / "chunk-000" / "file-000.parquet"


def test_a_round_trip_keeps_frames_actions_and_success_exactly(stored: Dataset, exported: Path, tmp_path: Path) -> None:
    back = import_lerobot(exported, tmp_path / "back", episodes_per_shard=2)
    assert len(back) == len(stored) == 5
    assert (back.seeds, back.policies) == (stored.seeds, stored.policies)
    assert (back.manifest.env_id, back.manifest.env_kwargs) == ("PointMass-v0", {"size": 8})
    for ours, theirs in zip(stored, back, strict=True):
        for name in ALIKE:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
        assert (ours.end, ours.trunc, dict(ours.params)) == (theirs.end, theirs.trunc, dict(theirs.params))


def test_what_the_format_cannot_keep_is_said(exported: Path, tmp_path: Path) -> None:
    assert json.loads((exported / "meta" / "worldrl.json").read_text())["not_kept"] == ["labels", "states", "fields"]
    back = import_lerobot(exported, tmp_path / "back")
    assert (back.manifest.state_dim, back.manifest.objects) == (0, ())
    assert not back[0].labels.any()
    assert back.manifest.lacks == ("labels", "states", "fields")
    back.require("success", "rews", by="a test")
    with pytest.raises(DataError, match=r"back must have labels and states for a test, got none: the format that it"):
        back.require("labels", "success", "states", by="a test")


def test_columns_that_a_foreign_data_set_has_not_are_lacking_and_nothing_is_appended_that_has_them(
    exported: Path, tmp_path: Path
) -> None:
    for name in ("worldrl.json", "worldrl.parquet"):
        (exported / "meta" / name).unlink()
    whole = import_lerobot(exported, tmp_path / "whole", env_id="PointMass-v0")
    assert whole.manifest.lacks == ("labels", "states", "fields")
    info = json.loads((exported / "meta" / "info.json").read_text())
    del info["features"]["next.success"]
    change(exported / "meta" / "info.json", features=info["features"])
    bare = import_lerobot(exported, tmp_path / "bare", env_id="PointMass-v0")
    assert bare.manifest.lacks == ("labels", "states", "fields", "success")
    with pytest.raises(DataError, match=r"lacks must be .* to append to .*whole"):
        import_lerobot(exported, tmp_path / "whole", env_id="PointMass-v0")


def test_recorded_episodes_lack_nothing_and_their_manifest_does_not_speak_of_it(stored: Dataset) -> None:
    assert stored.manifest.lacks == ()
    assert "lacks" not in json.loads((stored.folder / "manifest.json").read_text())
    stored.require("labels", "states", "success", by="a test")


def test_the_files_are_those_of_the_format(stored: Dataset, exported: Path) -> None:
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["fps"]) == ("v3.0", 5, 10)
    assert info["total_frames"] == stored.num_steps
    rows = pq.read_table(data_file(exported)).to_pydict()
    assert rows["index"] == list(range(stored.num_steps))
    assert rows["next.done"].count(True) == 5
    assert [rows["timestamp"][i] for i in range(3)] == pytest.approx([0, 0.1, 0.2])
    episodes = pq.read_table(exported / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert episodes[1]["dataset_from_index"] == episodes[0]["dataset_to_index"] == len(stored[0])
    assert pq.read_table(exported / "meta" / "tasks.parquet").to_pydict()["task"] == ["PointMass-v0"]
    mean = json.loads((exported / "meta" / "stats.json").read_text())["action"]["mean"]
    assert mean == pytest.approx(np.concatenate([e.acts for e in stored]).mean(axis=0), abs=1e-6)


def test_as_video_frames_come_back_nearly_and_all_else_exactly(stored: Dataset, tmp_path: Path) -> None:
    export_lerobot(stored.subset([0, 1]), tmp_path / "video", video=True)
    back = import_lerobot(tmp_path / "video", tmp_path / "back")
    for ours, theirs in zip(stored, back, strict=False):
        assert np.array_equal(ours.acts, theirs.acts)
        assert np.array_equal(ours.success, theirs.success)
        assert np.array_equal(ours.frames[-1], theirs.frames[-1])
        assert np.abs(ours.frames.astype(int) - theirs.frames.astype(int)).mean() < 20


def test_a_foreign_data_set_comes_in_with_its_last_observation_repeated(exported: Path, tmp_path: Path) -> None:
    for name in ("worldrl.json", "worldrl.parquet"):
        (exported / "meta" / name).unlink()
    back = import_lerobot(exported, tmp_path / "back", env_id="Theirs-v0", policy="teleoperator")
    assert back.manifest.env_id == "Theirs-v0"
    assert (set(back.policies), set(back.seeds)) == ({"teleoperator"}, {-1})
    assert np.array_equal(back[0].frames[-1], back[0].frames[-2])


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("version", "mend"), [("v2.1", "convert_dataset_v21_to_v30"), ("v1.6", "to v2.1"), ("v4.0", "upgrade worldrl")]
)
def test_another_version_is_refused_with_the_way_out(exported: Path, tmp_path: Path, version: str, mend: str) -> None:
    """Fault 29: a data set of v2.1, v1 or v4."""
    change(exported / "meta" / "info.json", codebase_version=version)
    with pytest.raises(DataError, match=f"needs v3.x, found {version}: .*{mend}"):
        import_lerobot(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "template",
    [
        "{0.__class__}", "{chunk_index.__class__}/x", "../{file_index:03d}", "/etc/{file_index}", "a/../../b",
        "{chunk_index!r}", "{chunk_index:99999999999d}", "x\0y", "{", "data/{other}.parquet", "a" * 300,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["data_path", "video_path"])
def test_a_template_is_never_formatted_and_leads_nowhere_else(
    exported: Path, tmp_path: Path, template: str, name: str
) -> None:
    """Fault 30: a template with an attribute, a conversion, a huge width, or a way out."""
    change(exported / "meta" / "info.json", **{name: template})
    with pytest.raises(DataError, match=r"a path in .* must"):
        import_lerobot(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.fault(30)
def test_a_link_out_of_the_folder_is_refused(exported: Path, tmp_path: Path) -> None:
    """Fault 30: the template is fine, the folder is a link."""
    (exported / "data").rename(tmp_path / "elsewhere")
    (exported / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="must stay in the folder"):
        import_lerobot(exported, tmp_path / "back")


def test_templates_of_the_format_are_filled_as_it_says(tmp_path: Path) -> None:
    assert fill(tmp_path, DATA, chunk=1, file=23) == tmp_path / "data/chunk-001/file-023.parquet"


@pytest.mark.fault(24)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_parquet_file_without_its_end_is_named(exported: Path, tmp_path: Path, share: float) -> None:
    """Fault 24: a writer that died before the footer; and fault 1, for parquet."""
    content = data_file(exported).read_bytes()
    data_file(exported).write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"file-000\.parquet cannot be read"):
        import_lerobot(exported, tmp_path / "back")


@pytest.mark.fault(24)
def test_episodes_before_a_damaged_one_are_kept(exported: Path, tmp_path: Path) -> None:
    """Fault 24: the last whole episode is named, and what came before it stays."""

    def edit(told: dict[str, Any]) -> None:
        told["observation.image"][-1] = {"bytes": b"no picture", "path": None}

    columns(data_file(exported), edit)
    with pytest.raises(DataError, match="The 4 episodes before it are whole"):
        import_lerobot(exported, tmp_path / "back", episodes_per_shard=1)
    assert len(Dataset(tmp_path / "back")) == 4


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("name", "row", "value", "sentence"),
    [
        ("timestamp", 2, 0.25, r"timestamp must be within 0\.001 s"),
        ("timestamp", 2, float("nan"), r"timestamp must be within 0\.001 s"),
        ("frame_index", 1, 7, "must have frames 0 to"),
        ("episode_index", 0, 3, "must have frames 0 to"),
        ("action", 0, [float("nan")] * 2, "must be finite"),
        ("action", 0, [3.0] * 2, r"must be in \[-1, 1\]"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    exported: Path, tmp_path: Path, name: str, row: int, value: Any, sentence: str
) -> None:
    """Fault 28: counts and times; and faults 20 and 21 for this reader."""
    columns(data_file(exported), lambda told: told[name].__setitem__(row, value))
    with pytest.raises(DataError, match=sentence):
        import_lerobot(exported, tmp_path / "back")


@pytest.mark.fault(28)
@pytest.mark.parametrize("fps", ["0", "-1", "1e999"])
def test_a_rate_that_cannot_be_is_refused(exported: Path, fps: str) -> None:
    """Fault 28: fps 0."""
    path = exported / "meta" / "info.json"
    path.write_text(path.read_text().replace('"fps": 10', f'"fps": {fps}'))
    with pytest.raises(DataError, match="fps must be a positive number"):
        read_info(exported)


@pytest.mark.fault(28)
@pytest.mark.parametrize(("more", "sentence"), [(-2, r"must have .* frames for episode 0"), (2, "got more than its")])
def test_a_video_of_another_length_than_its_rows_is_refused(
    stored: Dataset, tmp_path: Path, more: int, sentence: str
) -> None:
    """Fault 28: video frames are not the parquet rows."""
    from worldrl.data.lerobot_video import write_frames

    export_lerobot(stored.subset([0]), tmp_path / "video", video=True)
    frames = np.repeat(stored[0].frames[:1], len(stored[0]) + more, axis=0)
    write_frames(next((tmp_path / "video").rglob("*.mp4")), frames, fps=10)
    with pytest.raises(DataError, match=sentence):
        import_lerobot(tmp_path / "video", tmp_path / "back")


@pytest.mark.fault(27)
def test_a_video_that_is_none_is_refused_in_one_line(stored: Dataset, tmp_path: Path) -> None:
    """Fault 27: garbage where a video should be."""
    export_lerobot(stored.subset([0]), tmp_path / "video", video=True)
    next((tmp_path / "video").rglob("*.mp4")).write_bytes(b"garbage" * 100)
    with pytest.raises(DataError, match="cannot be read as a video") as refused:
        import_lerobot(tmp_path / "video", tmp_path / "back")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.fault(32)
@pytest.mark.parametrize(("mode", "size"), [("1", 9000), ("L", 8)])
def test_a_picture_of_another_size_or_kind_is_refused_before_it_is_unpacked(
    exported: Path, tmp_path: Path, mode: str, size: int
) -> None:
    """Fault 32: a header of 81 megapixels in few bytes; and fault 22: a picture that is grey."""
    from PIL import Image

    file = io.BytesIO()
    Image.new(mode, (size, size)).save(file, format="PNG")
    columns(
        data_file(exported),
        lambda told: told["observation.image"].__setitem__(0, {"bytes": file.getvalue(), "path": ""}),
    )
    with pytest.raises(DataError, match="a picture must be"):
        import_lerobot(exported, tmp_path / "back")


def test_a_folder_that_is_there_is_not_written_into(stored: Dataset, exported: Path) -> None:
    with pytest.raises(ConfigError, match="must be a new one"):
        export_lerobot(stored, exported)


def test_what_is_no_lerobot_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a LeRobot data set"):
        import_lerobot(tmp_path, tmp_path / "back")
