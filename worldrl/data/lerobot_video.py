"""Frames to and from the videos of a LeRobot data set."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from worldrl.errors import DataError, StorageError, first_line
from worldrl.types import Array


def write_frames(path: Path, frames: Array, *, fps: float) -> None:
    """Write frames ``(t, h, w, 3)`` uint8 as h264; an odd side is padded by one line, as yuv420p needs even ones.

    Raises:
        StorageError: If it cannot be written.
    """
    import imageio_ffmpeg

    odd = [(0, side % 2) for side in frames.shape[1:3]]
    padded = np.pad(frames, ((0, 0), *odd, (0, 0)), mode="edge")
    size = (padded.shape[2], padded.shape[1])
    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=fps, codec="libx264", quality=None, macro_block_size=1, output_params=["-crf", "12"]
    )
    try:
        writer.send(None)
        for frame in padded:
            writer.send(np.ascontiguousarray(frame))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {first_line(error)}.") from error
    finally:
        writer.close()


class Film:
    """A video that is read once, forwards.

    Args:
        path: The file.
        shape: ``(h, w, 3)`` that its frames have; what was padded is cut off.
    """

    def __init__(self, path: Path, shape: Sequence[int]) -> None:
        self.path, self.shape, self._next = path, tuple(shape), 0
        self._frames = self._read()

    def take(self, start: int, count: int, *, episode: int) -> Array:
        """Return frames ``start`` to ``start + count``, which may not lie before those taken last.

        Raises:
            DataError: If the video has not that many, or cannot be read.
        """
        found = []
        while self._next < start + count:
            frame = next(self._frames, None)
            if frame is None:
                raise DataError(
                    f"{self.path} must have {start + count} frames for episode {episode}, got {self._next}: "
                    f"the {episode} episodes before it are whole."
                )
            if self._next >= start:
                found.append(frame)
            self._next += 1
        if len(found) != count:
            raise DataError(f"episode {episode} must begin at frame {self._next} of {self.path} or later, got {start}.")
        return np.stack(found)

    def finish(self, *, episode: int) -> None:
        """Close the video, which must be at its end.

        Raises:
            DataError: If it has frames that no episode has.
        """
        if next(self._frames, None) is not None:
            raise DataError(
                f"{self.path} must have {self._next} frames, got more than its episodes have: "
                f"the {episode} episodes before its end are whole."
            )

    def _read(self) -> Iterator[Array]:
        """Yield frames; ffmpeg sends each as a PPM, which says its size before its pixels."""
        import imageio_ffmpeg

        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(self.path), "-fps_mode", "passthrough"]
        command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet) as process:
            assert process.stdout is not None
            try:
                while frame := self._frame(process.stdout):
                    yield frame[0]
                if process.wait(timeout=60) != 0:
                    raise DataError(f"{self.path} cannot be read as a video: ffmpeg ended with {process.returncode}.")
            finally:
                process.kill()

    def _frame(self, stream: IO[bytes]) -> tuple[Array] | None:
        """Read one frame, or None at the end."""
        header = b"".join(stream.readline(64) for _ in range(3))
        if not header:
            return None
        found = re.fullmatch(rb"P6\n(\d+) (\d+)\n255\n", header)
        (height, width, _), size = self.shape, (0, 0)
        if found is not None:
            size = int(found[2]), int(found[1])
        if size not in {(height, width), (height + height % 2, width + width % 2)}:
            raise DataError(f"{self.path} must have frames of {self.shape}, got {size[0]} by {size[1]}.")
        content = stream.read(size[0] * size[1] * 3)
        if len(content) < size[0] * size[1] * 3:
            raise DataError(f"{self.path} cannot be read as a video: it ends in the middle of a frame.")
        return (np.frombuffer(content, np.uint8).reshape(*size, 3)[:height, :width],)
