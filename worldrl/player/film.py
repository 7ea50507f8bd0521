"""A film of what is played, written while it is played."""

import re
from collections.abc import Iterator
from pathlib import Path
from queue import Full, Queue
from threading import Thread

import numpy as np

from worldrl.errors import StorageError, WorldRLError, first_line
from worldrl.evaluation.video import Frame, side_by_side, write_video

LABELS = ("imagined", "MuJoCo")
SIDE = 200
"""Pixels up to which small frames are enlarged, by repeating theirs (our choice)."""
NAME = re.compile(r"play-[0-9]{3,6}\.mp4")
"""What the player calls its films."""
WAITING = 64
"""Frames that may wait to be written."""


class Film:
    """An mp4 that grows frame by frame, in a thread of its own; the file is there once the film is closed.

    Args:
        path: Ends in ``.mp4``; replaced if it exists.
        fps: Frames a second.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self.path, self.length = path, 0
        self._frames: Queue[Frame | None] = Queue(WAITING)
        self._failure: WorldRLError | None = None
        self._thread = Thread(target=self._write, args=(fps,), name="film")
        self._thread.start()

    def add(self, frame: Frame) -> None:
        """Add a frame ``(h, w, 3)`` uint8; all of a film have one size.

        Raises:
            WorldRLError: If the film cannot be written.
        """
        self._hand(frame)
        self.length += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            WorldRLError: If it cannot be written.
        """
        if self._thread.is_alive():
            self._hand(None)
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _hand(self, frame: Frame | None) -> None:
        while self._thread.is_alive():
            try:
                return self._frames.put(frame, timeout=0.2)
            except Full:  # the writer is slow, or has failed meanwhile
                continue
        if self._failure is not None and frame is not None:
            raise self._failure
        return None

    def _write(self, fps: float) -> None:
        try:
            write_video(self.path, self._drain(), fps=fps)
        except WorldRLError as error:
            self._failure = error
        except Exception as error:  # whatever it was, the film is not there
            self._failure = StorageError(f"{self.path} could not be written: {first_line(error)}.")

    def _drain(self) -> Iterator[Frame]:
        while (frame := self._frames.get()) is not None:
            yield frame


def is_film(name: str) -> bool:
    """Return whether the player gives such names."""
    return NAME.fullmatch(name) is not None


def free_name(folder: Path) -> Path:
    """Return the first of these names that no film in ``folder`` has."""
    return next(path for i in range(1, 10**6) if not (path := folder / f"play-{i:03d}.mp4").exists())


def joined(imagined: Frame, real: Frame | None, *, success: tuple[bool, bool]) -> Frame:
    """Return one frame of a film: imagination, and the simulator beside it where there is one.

    Args:
        imagined: ``(h, w, 3)`` uint8.
        real: The same, of another size perhaps; None for none.
        success: Of each, whether the task is solved in it; the border is green then.
    """
    if real is None:
        return enlarged(imagined)
    sides = ([enlarged(imagined)], [enlarged(real)])
    return next(side_by_side(*sides, labels=LABELS, success=([success[0]], [success[1]])))


def enlarged(frame: Frame) -> Frame:
    """Enlarge a frame to about ``SIDE`` pixels by repeating pixels."""
    times = max(1, SIDE // frame.shape[0])
    return np.asarray(frame.repeat(times, axis=0).repeat(times, axis=1))
