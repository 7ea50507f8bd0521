"""Videos hold the frames that were written, and nothing is left behind when they cannot be."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from worldrl.errors import ConfigError, DataError, StorageError
from worldrl.evaluation.video import GREEN, GREY, LABEL_HEIGHT, side_by_side, write_video

reads_mp4 = pytest.mark.filterwarnings(  # imageio's reader leaves its pipes to the garbage collector
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)


def test_what_a_killed_run_left_of_a_video_goes_when_it_is_written_again(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".tmp-{dead.pid}-film.gif").write_bytes(b"half")
    write_video(tmp_path / "film.gif", plain(2))
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def plain(t: int, h: int = 32, w: int = 32, *, first: int = 20, step: int = 20) -> np.ndarray:
    return np.stack([np.full((h, w, 3), first + step * i, np.uint8) for i in range(t)])


@reads_mp4
@pytest.mark.parametrize("name", ["film.mp4", "film.gif", "new/folder/FILM.MP4"])
def test_the_frames_come_back_in_order(tmp_path: Path, name: str) -> None:
    frames = plain(8)
    write_video(tmp_path / name, iter(frames), fps=10)
    back = iio.imread(tmp_path / name)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).max() <= 4


@reads_mp4
def test_an_mp4_has_the_rate_and_the_format_that_browsers_play(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", plain(10), fps=25)
    about = iio.immeta(tmp_path / "film.mp4", plugin="FFMPEG")
    assert (about["fps"], about["codec"], about["pix_fmt"].split("(")[0]) == (25, "h264", "yuv420p")
    assert about["duration"] == pytest.approx(0.4)


def test_a_gif_has_the_rate_asked_for(tmp_path: Path) -> None:
    write_video(tmp_path / "film.gif", plain(3), fps=20)
    assert iio.immeta(tmp_path / "film.gif", index=0)["duration"] == 50


@pytest.mark.fault(27)
@reads_mp4
def test_odd_sides_are_padded_and_not_resized(tmp_path: Path) -> None:
    frames = np.full((3, 33, 47, 3), 200, np.uint8)
    write_video(tmp_path / "film.mp4", frames)
    back = iio.imread(tmp_path / "film.mp4")
    assert back.shape == (3, 34, 48, 3)
    assert back[:, :32, :46].min() > 190
    assert back[:, 33].max() < 60
    assert back[:, :, 47].max() < 60


def test_scale_enlarges_every_pixel(tmp_path: Path) -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[:, 0, 0] = 255
    write_video(tmp_path / "film.gif", frames, scale=5)
    back = iio.imread(tmp_path / "film.gif", index=0)
    assert back.shape == (20, 20, 3)
    assert (back[:5, :5] == 255).all()
    assert back.sum() == 5 * 5 * 3 * 255


@pytest.mark.fault(27)
@reads_mp4
def test_one_frame_is_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", plain(1))
    assert iio.imread(tmp_path / "film.mp4").shape == (1, 32, 32, 3)


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def frames() -> Iterator[np.ndarray]:
        for frame in plain(3):
            seen.append([file.name for file in tmp_path.iterdir()])
            yield frame

    write_video(tmp_path / "film.mp4", frames())
    assert len(seen) == 3
    assert not any("film.mp4" in names for names in seen)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.fault(6, 27)
@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_failure_keeps_the_old_film_and_leaves_no_half_of_the_new(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / name, plain(2))
    old = (tmp_path / name).read_bytes()

    def breaks() -> Iterator[np.ndarray]:
        yield from plain(3)
        raise RuntimeError("the renderer is gone")

    with pytest.raises(RuntimeError, match="the renderer is gone"):
        write_video(tmp_path / name, breaks())
    with pytest.raises(DataError, match=r"frames must all be \(32, 32, 3\), got \(30, 32, 3\) at 1"):
        write_video(tmp_path / name, [plain(1)[0], plain(1, h=30)[0]])
    assert (tmp_path / name).read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault(27)
def test_ffmpeg_that_fails_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in ("/bin/false", "/bin/true", str(tmp_path / "nowhere")):
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", broken)
        with pytest.raises(StorageError, match=r"film\.mp4 cannot be written: .*(ffmpeg failed|nowhere)"):
            write_video(tmp_path / "film.mp4", plain(3, 256, 256))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("film.mp4", "film.gif"):
        with pytest.raises(StorageError, match="cannot be written"):
            write_video(tmp_path / "file" / name, plain(2))


@pytest.mark.fault(27)
def test_wrong_input_is_refused_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="frames must be at least 1, got 0"):
        write_video(tmp_path / "film.mp4", [])
    with pytest.raises(DataError, match=r"frames must be \(h, w, 3\) uint8, got \(4, 4, 3\) float64 at 0"):
        write_video(tmp_path / "film.mp4", np.zeros((1, 4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"path must end in \.mp4 or \.gif, got 'film\.avi'"):
        write_video(tmp_path / "film.avi", plain(1))
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        write_video(tmp_path / "film.mp4", plain(1), fps=0)
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        write_video(tmp_path / "film.mp4", plain(1), scale=0)
    assert not list(tmp_path.iterdir())


def test_the_smaller_side_is_enlarged_without_interpolation() -> None:
    checker = np.zeros((1, 2, 2, 3), np.uint8)
    checker[0, 0, 0] = checker[0, 1, 1] = 255
    (frame,) = side_by_side(plain(1, 64, 64), checker, border=2)
    assert frame.shape == (LABEL_HEIGHT + 64 + 4, 2 * 68, 3)
    right = frame[LABEL_HEIGHT + 2 : -2, 68 + 2 : -2]
    assert (right[:32, :32] == 255).all()
    assert (right[:32, 32:] == 0).all()


def test_what_does_not_divide_is_centred_on_black() -> None:
    (frame,) = side_by_side(plain(1, 50, 50), plain(1, 20, 20, first=99), border=0)
    right = frame[LABEL_HEIGHT:, 50:]
    assert (right[5:45, 5:45] == 99).all()
    assert right.sum() == 40 * 40 * 3 * 99


def test_the_shorter_side_holds_its_last_frame() -> None:
    frames = list(side_by_side(plain(2, 8, 8), plain(5, 8, 8, first=100), border=0))
    assert [int(frame[-1, 0, 0]) for frame in frames] == [20, 40, 40, 40, 40]
    assert [int(frame[-1, -1, 0]) for frame in frames] == [100, 120, 140, 160, 180]


def test_the_border_turns_green_on_success_and_stays_so() -> None:
    success = ([False, True], [False, False, True, False])
    frames = list(side_by_side(plain(2, 8, 8), plain(5, 8, 8), border=1, success=success))
    assert [tuple(frame[-1, 0].tolist()) for frame in frames] == [GREY, *[GREEN] * 4]
    assert [tuple(frame[-1, -1].tolist()) for frame in frames] == [GREY, GREY, GREEN, GREY, GREY]


def test_each_side_stands_under_its_label() -> None:
    (frame,), (other,) = (
        side_by_side(plain(1, 64, 64), plain(1, 64, 64), labels=labels) for labels in (("a", "b"), ("a", "c"))
    )
    label, changed = frame[:LABEL_HEIGHT], other[:LABEL_HEIGHT]
    assert label[:, :68].max() == 255
    assert (label[:, :68] == changed[:, :68]).all()
    assert (label[:, 68:] != changed[:, 68:]).any()


def test_a_side_without_frames_is_refused() -> None:
    with pytest.raises(DataError, match="at least 1 on each side"):
        list(side_by_side(plain(2), []))
    with pytest.raises(DataError, match="at least 1 on each side"):
        list(side_by_side([], []))
    with pytest.raises(ValueError, match="border must be at least 0, got -1"):
        side_by_side(plain(1), plain(1), border=-1)
