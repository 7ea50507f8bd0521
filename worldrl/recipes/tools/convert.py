"""``worldrl convert FROM TO``: data sets into and out of the formats of others."""

from collections.abc import Sequence
from pathlib import Path

from worldrl.data.dataset import Dataset
from worldrl.data.lerobot_info import INFO, NOT_KEPT
from worldrl.errors import ConfigError
from worldrl.recipes.results import Result
from worldrl.recipes.tools.places import is_data_set

FORMATS = ("minari", "lerobot")
SETTINGS = {"format", "fps", "video", "env_id"}


def convert(words: Sequence[str]) -> Result:
    """Bring a data set into or out of another format.

    What lies at FROM says the direction: a data set of ours goes to ``format=minari`` (TO is its id) or
    ``format=lerobot`` (TO is a new folder; ``fps=10``, ``video=true`` for mp4 instead of PNG); a LeRobot folder or the
    id of a local Minari data set comes in, and TO is a folder of ours (``env_id=ID`` names the environment).

    Raises:
        ConfigError: If the words do not say that, or a package is missing.
        DataError: If what is to be read is damaged or of another version.
        StorageError: If it cannot be written.
    """
    names = [word for word in words if "=" not in word]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if len(names) != 2 or set(options) - SETTINGS or options.get("format", "lerobot") not in FORMATS:
        raise ConfigError(
            f"convert must be followed by FROM TO and at most {', '.join(f'{name}=' for name in sorted(SETTINGS))} "
            f"with format one of {', '.join(FORMATS)}, got '{' '.join(words)}'. See worldrl convert --help."
        )
    source, target = names
    if is_data_set(Path(source)):
        return _export(source, target, options)
    return _import(source, target, options)


def _export(source: str, target: str, options: dict[str, str]) -> Result:
    from worldrl.data.lerobot_write import export_lerobot
    from worldrl.data.minari_io import export_minari

    if "format" not in options:
        raise ConfigError(f"{source} is a data set of worldrl: say format=minari or format=lerobot.")
    dataset = Dataset(source)
    told = {"from": source, "format": options["format"], "episodes": len(dataset), "steps": dataset.num_steps}
    if options["format"] == "minari":
        return Result(
            f"{len(dataset)} episodes are now Minari's {target}", told | {"to": export_minari(dataset, target)}
        )
    try:
        fps = float(options.get("fps", "10"))
    except ValueError as error:
        raise ConfigError(f"fps must be a number, got '{options['fps']}'.") from error
    if options.get("video", "false") not in ("true", "false"):
        raise ConfigError(f"video must be true or false, got '{options['video']}'.")
    folder = export_lerobot(dataset, target, fps=fps, video=options.get("video") == "true")
    text = f"{len(dataset)} episodes are now in {folder}; the format does not keep {', '.join(NOT_KEPT)}."
    return Result(text, told | {"to": folder, "not_kept": NOT_KEPT})


def _import(source: str, target: str, options: dict[str, str]) -> Result:
    from worldrl.data.lerobot_read import import_lerobot
    from worldrl.data.minari_io import import_minari

    theirs = "lerobot" if (Path(source) / INFO).exists() else "minari"
    if options.get("format", theirs) != theirs and theirs == "lerobot":
        raise ConfigError(f"{source} is a LeRobot data set: it comes in as one, without format={options['format']}.")
    if options.get("format") == "lerobot" or (theirs == "minari" and Path(source).is_dir()):
        raise ConfigError(
            f"{source} must be a data set of worldrl, LeRobot's (with {INFO}), or the id of a Minari one."
        )
    bring = import_lerobot if theirs == "lerobot" else import_minari
    dataset = bring(source, target, env_id=options.get("env_id"))
    told = {"from": source, "to": target, "format": theirs, "episodes": len(dataset), "steps": dataset.num_steps}
    text, lacks = f"{target} has {len(dataset)} episodes now, {dataset.num_steps} steps", dataset.manifest.lacks
    return Result(f"{text}; they lack {', '.join(lacks)}" if lacks else text, told | {"lacks": lacks})
