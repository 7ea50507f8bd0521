"""Videos: frames to mp4 or gif, and the real and the imagined world side by side."""

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryFile

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from worldrl.disk import sweep
from worldrl.errors import ConfigError, DataError, StorageError

Frame = npt.NDArray[np.uint8]

LABEL_HEIGHT = 13
GREY, GREEN = (96, 96, 96), (40, 200, 80)


def write_video(path: Path, frames: Iterable[Frame], *, fps: float = 20, scale: int = 1) -> None:
    """Write frames to ``path``, which is either whole or not there.

    An mp4 (h264, yuv420p, which every browser plays) is written as the frames come, in bounded memory. A gif holds all
    its frames in memory and joins equal neighbours into one longer frame. Nothing is resized but by ``scale``: an odd
    side is padded by one black line, as yuv420p needs even sides.

    Args:
        path: Ends in ``.mp4`` or ``.gif``; replaced if it exists.
        frames: ``(t, h, w, 3)`` uint8, or anything that yields ``(h, w, 3)``.
        fps: Frames a second.
        scale: Whole number by which every pixel is enlarged.

    Raises:
        ConfigError: If the suffix is another.
        DataError: If there are no frames, or one is not ``(h, w, 3)`` uint8 of the first one's size.
        StorageError: If the file cannot be written.
        ValueError: If ``fps`` is not positive or ``scale`` is less than one.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}.")
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}.")
    write = {".mp4": _write_mp4, ".gif": _write_gif}.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"path must end in .mp4 or .gif, got '{path.name}'.")
    staged = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    prepared = (_pad_even(_enlarge(frame, scale)) for frame in _checked(frames))
    first = next(prepared, None)
    if first is None:
        raise DataError(f"frames must be at least 1, got 0: nothing to write to {path}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        write(staged, first, prepared, fps)
        staged.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}. Free some space or choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)


def side_by_side(
    left: Iterable[Frame],
    right: Iterable[Frame],
    *,
    labels: tuple[str, str] = ("real", "imagined"),
    border: int = 2,
    success: tuple[Iterable[bool], Iterable[bool]] | None = None,
) -> Iterator[Frame]:
    """Yield the two side by side, each under its label, in a border that is green where its task is solved.

    The smaller one is enlarged by the largest whole number that fits, without interpolation, and centred on black; the
    shorter one holds its last frame.

    Args:
        left: ``(t, h, w, 3)`` uint8, or anything that yields ``(h, w, 3)``.
        right: The same, of any size and length.
        labels: Text above each.
        border: Pixels around each.
        success: Whether each frame of each side is a success; like a frame, the last holds.

    Raises:
        DataError: If a side has no frames, or one is not ``(h, w, 3)`` uint8 of its first one's size.
        ValueError: If ``border`` is negative.
    """
    if border < 0:
        raise ValueError(f"border must be at least 0, got {border}.")
    flags = success or ((), ())
    sides = [zip_longest(_checked(side), flag) for side, flag in zip((left, right), flags, strict=True)]
    return _joined(_held(sides[0]), _held(sides[1]), labels, border)


Solved = tuple[Frame, bool]


def _held(side: Iterable[tuple[Frame | None, bool | None]]) -> Iterator[Solved]:
    """Yield frames with their success; where flags run out the last one holds, and spare flags are dropped."""
    last = False
    for frame, flag in side:
        if frame is None:
            return
        last = last if flag is None else bool(flag)
        yield frame, last


def _joined(left: Iterator[Solved], right: Iterator[Solved], labels: tuple[str, str], border: int) -> Iterator[Frame]:
    shown: list[Solved | None] = [None, None]
    size = (0, 0)
    for pair in zip_longest(left, right):
        shown = [new or old for new, old in zip(pair, shown, strict=True)]
        panels = [panel for panel in shown if panel is not None]
        if len(panels) < 2:
            raise DataError("frames must be at least 1 on each side, got 0 on one.")
        if size == (0, 0):
            size = max(f.shape[0] for f, _ in panels), max(f.shape[1] for f, _ in panels)
        framed = [_panel(f, ok, label, size, border) for (f, ok), label in zip(panels, labels, strict=True)]
        yield np.concatenate(framed, axis=1)
    if shown == [None, None]:
        raise DataError("frames must be at least 1 on each side, got 0.")


def _panel(frame: Frame, solved: bool, label: str, size: tuple[int, int], border: int) -> Frame:
    """Return one side ``(LABEL_HEIGHT + size[0] + 2 border, size[1] + 2 border, 3)``."""
    height, width = size
    frame = _enlarge(frame, min(height // frame.shape[0], width // frame.shape[1]))
    panel = np.zeros((LABEL_HEIGHT + height + 2 * border, width + 2 * border, 3), np.uint8)
    panel[LABEL_HEIGHT:] = GREEN if solved else GREY
    inside = panel[LABEL_HEIGHT + border :, border:][:height, :width]
    inside[:] = 0
    top, start = (height - frame.shape[0]) // 2, (width - frame.shape[1]) // 2
    inside[top : top + frame.shape[0], start : start + frame.shape[1]] = frame
    panel[:LABEL_HEIGHT] = _label(label, panel.shape[1])
    return panel


def _label(text: str, width: int) -> Frame:
    """Draw white text on black ``(LABEL_HEIGHT, width, 3)``; what does not fit is cut off."""
    strip = Image.new("RGB", (width, LABEL_HEIGHT))
    ImageDraw.Draw(strip).text((2, 1), text, fill="white", font=ImageFont.load_default_imagefont())
    return np.asarray(strip)


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    shape: tuple[int, ...] = ()
    for i, frame in enumerate(frames):
        frame = np.asarray(frame)
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise DataError(f"frames must be (h, w, 3) uint8, got {frame.shape} {frame.dtype} at {i}.")
        if frame.shape != shape:
            raise DataError(f"frames must all be {shape}, got {frame.shape} at {i}.")
        yield frame


def _enlarge(frame: Frame, scale: int) -> Frame:
    return frame.repeat(scale, axis=0).repeat(scale, axis=1) if scale > 1 else frame


def _pad_even(frame: Frame) -> Frame:
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)))


def _write_mp4(path: Path, first: Frame, rest: Iterator[Frame], fps: float) -> None:
    """Pipe the frames to ffmpeg; not through imageio's writer, which does not report ffmpeg's exit code."""
    height, width, _ = first.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    target = ["-codec:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = [_ffmpeg(), "-y", "-v", "error", *source, *target]
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    # In a group of its own: a terminal's Ctrl-C is for us, who then finish the file; ffmpeg would break it off.
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, stdin=pipe, stdout=none, stderr=log, process_group=0) as process,
    ):
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code and its log say why
            for frame in chain([first], rest):
                process.stdin.write(frame.tobytes())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    if code != 0 or not path.is_file():
        raise OSError(f"ffmpeg failed with exit code {code}: {said[-1] if said else 'it said nothing'}")


def _ffmpeg() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise OSError("no ffmpeg was found; reinstall imageio-ffmpeg") from error


def _write_gif(path: Path, first: Frame, rest: Iterator[Frame], fps: float) -> None:
    frames = np.stack([first, *rest])
    iio.imwrite(path, frames, plugin="pillow", extension=".gif", duration=1000 / fps, loop=0)
