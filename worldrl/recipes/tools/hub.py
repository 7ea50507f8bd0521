"""``worldrl hub push FOLDER OWNER/NAME`` and ``worldrl hub pull OWNER/NAME FOLDER``."""

from collections.abc import Sequence

from worldrl.errors import ConfigError
from worldrl.hub import pull, push_to_hub
from worldrl.recipes.results import Result

SETTINGS = {"push": {"private", "revision"}, "pull": {"revision"}}
SWITCH = {"true": True, "false": False}


def hub(words: Sequence[str]) -> Result:
    """Upload a checkpoint as it is, or download one and verify it.

    Raises:
        ConfigError: If the words say neither, a name is malformed, or the hub cannot be reached.
        CheckpointError: If what is to go or what came is not a whole checkpoint.
    """
    action, rest = (words[0], list(words[1:])) if words else ("", [])
    settings = dict(word.split("=", 1) for word in rest if "=" in word)
    names = [word for word in rest if "=" not in word]
    if action not in SETTINGS or len(names) != 2 or set(settings) - SETTINGS[action]:
        raise ConfigError(
            f"hub must be followed by push FOLDER OWNER/NAME or pull OWNER/NAME FOLDER, got '{' '.join(words)}'. "
            "See worldrl hub --help."
        )
    revision = settings.get("revision")
    if action == "pull":
        folder = pull(names[0], names[1], revision=revision)
        return Result(f"{names[0]} is whole and now at {folder}", {"repo": names[0], "path": folder})
    if settings.get("private", "true") not in SWITCH:
        raise ConfigError(f"private must be true or false, got '{settings['private']}'.")
    where = push_to_hub(names[0], names[1], private=SWITCH[settings.get("private", "true")], revision=revision)
    return Result(f"{names[0]} is uploaded: {where}", {"repo": names[1], "url": where})
