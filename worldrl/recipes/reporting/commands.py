"""The commands that repeat a run."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldrl.recipes.reporting.figures import HIDDEN

UNREPEATED = {"out", "tensorboard", "wandb"}
STAGES = (
    "worldrl collect out=RUN/episodes policy=noisy_expert episodes={demonstrations} noise={noise}",
    "worldrl collect out=RUN/episodes policy=random episodes={random}",
    "worldrl encode episodes=RUN/episodes out=RUN/observation features=RUN/features",
    "worldrl clone episodes=RUN/episodes {seen} out=RUN/clone steps={clone_steps}",
    "worldrl collect out=RUN/episodes policy=RUN/clone {seen} episodes={rollouts}",
    "worldrl fit episodes=RUN/episodes {seen} out=RUN/world steps={fit_steps} success_steps={success_steps} "
    "decoder_steps={decoder_steps}",
    "worldrl refine world=RUN/world policy=RUN/clone out=RUN/refined steps={imagined_steps} anchor={anchor} "
    "trust.slack={slack}",
    "worldrl evaluate policies=[RUN/clone,RUN/refined] {seen} world=RUN/world out=RUN/evaluation.json "
    "episodes={episodes}",
    "worldrl record policy=RUN/refined observation=RUN/observation world=RUN/world out=RUN/videos episodes={videos}",
)
GROUPS = {
    "collect": ("env",), "encode": ("encoder", "objects", "pixels"), "fit": ("world_model",), "evaluate": ("env",),
    "record": ("env",),
}  # fmt: skip
"""Options of the demo that its stages share."""


def demo(config: dict[str, Any]) -> str:
    """Return the one command, with every option that differs from the default."""
    return shlex.join(["worldrl", "demo", *differences(config), "out=NEW"])


def stages(config: dict[str, Any]) -> list[str]:
    """Return the command of every stage; ``RUN`` stands for a new folder."""
    changed, found = differences(config), []
    values = {name: word(value) for name, value in config.items()}
    values["seen"] = "observation=RUN/observation features=RUN/features"
    for line in STAGES:
        try:
            command = line.format(**values)
        except KeyError:  # of another version
            continue
        groups = GROUPS.get(command.split()[1], ())
        words = [one for one in changed if one.split("=", 1)[0].split(".")[0].lstrip("+") in groups]
        found.append(" ".join([command, f"seed={values.get('seed', 0)}", *map(shlex.quote, words)]))
    return found


def differences(config: dict[str, Any]) -> list[str]:
    """Return ``name=value`` of every option of the demo that is not the default, as the command line takes it."""
    from worldrl.recipes import demo as recipe
    from worldrl.recipes.config import compose

    return list(_differing(config, asdict(compose("demo", [], schema=recipe.Config)), ""))


def _differing(config: dict[str, Any], default: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in config.items():
        known = default.get(name)
        if f"{prefix}{name}" in UNREPEATED or value in (known, HIDDEN):
            continue
        if isinstance(value, dict) and isinstance(known, dict):
            yield from _differing(value, known, f"{prefix}{name}.")
        elif name in default:
            yield f"{prefix}{name}={word(value)}"
        else:  # one that the default does not have: Hydra wants it announced
            yield f"+{prefix}{name}={word(value)}"


def word(value: Any) -> str:
    """Return a value as Hydra reads it."""
    if isinstance(value, str) and value and all(c.isalnum() or c in "_-./:" for c in value):
        return value
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ",".join(map(word, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{word(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def of(run: Path, verb: str) -> str:
    """Return the command that makes what a run lacks, with the run's own folder."""
    at = shlex.quote(str(run))
    seen = f"observation={at}/observation"
    return {
        "evaluate": f"worldrl evaluate policies=[{at}/clone,{at}/refined] {seen} world={at}/world "
        f"out={at}/evaluation.json",
        "refine": f"worldrl refine world={at}/world policy={at}/clone out={at}/refined",
        "record": f"worldrl record policy={at}/refined {seen} world={at}/world out={at}/videos",
        "fit": f"worldrl fit episodes={at}/episodes {seen} out={at}/world",
        "collect": f"worldrl collect out={at}/episodes policy=noisy_expert",
        "report": f"worldrl report {at}",
        "demo": "worldrl demo",
    }[verb]
