"""Whether results can be put where they are to go."""

import os
from pathlib import Path

from worldrl.errors import StorageError


def require_writable(path: Path) -> None:
    """Refuse a place that nothing can be written to, before anything is computed for it.

    Raises:
        StorageError: If the nearest folder that is there may not be written in, or is none.
    """
    try:
        place = path if path.is_dir() else path.parent
        while not place.exists() and place != place.parent:
            place = place.parent
        writable = "\0" not in str(path) and place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. Choose another folder.") from error
    if not writable:
        raise StorageError(f"{str(path)!r} cannot be written: {place} must be a folder that may be written in.")
