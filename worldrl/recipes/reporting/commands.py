"""The commands that repeat a run."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldrl.recipes.reporting.figures import HIDDEN, Run, redacted

UNREPEATED = {"out", "tensorboard", "wandb"}
NEEDED = {"demo": (), "train": ("out",), "evolve": ("episodes", "observation", "policy", "out")}
"""Verbs that make a whole run, and their options without a default."""
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


def whole(verb: str, config: dict[str, Any], *, out: str = "NEW") -> str:
    """Return the one command, with every option that differs from the default."""
    return shlex.join(["worldrl", verb, *differences(config, verb), f"out={out}"])


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


def differences(config: dict[str, Any], verb: str = "demo") -> list[str]:
    """Return ``name=value`` of every option of a verb that is not the default, as the command line takes it."""
    from worldrl.recipes.config import compose

    return list(_differing(config, asdict(compose(verb, [f"{name}=NEW" for name in NEEDED[verb]])), ""))


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


def of(run: Run, verb: str) -> str:
    """Return the command that makes what a run lacks, with the run's own folders; what is not known is in capitals."""
    places, at = run.places, shlex.quote(str(run.folder))
    several = places.kind not in ("world", "policy")
    policies = [shlex.quote(str(path)) for path in places.policies.values()] or [f"{at}/clone", f"{at}/refined"]
    seen = f"observation={_part(places.observations, f'{at}/observation' if several else 'OBSERVATION')}"
    data = f"episodes={_part(places.episodes, f'{at}/episodes' if several else 'EPISODES')}"
    known = several or places.worlds
    world = f"world={_part(places.worlds, f'{at}/world')}" if known else ""
    lacks = {"episodes": places.episodes, "observation": places.observations}
    given = " ".join(f"{name}={name.upper()}" for name, found in lacks.items() if not found)
    return " ".join(
        {
            "evaluate": f"worldrl evaluate policies=[{','.join(policies)}] {seen} {world} {_env(run)} "
            f"out={at}/evaluation.json",
            "refine": f"worldrl refine {world} policy={policies[0]} out={at}/refined",
            "record": f"worldrl record policy={policies[-1]} {seen} {world} {_env(run)} out={at}/videos",
            "fit": f"worldrl fit {data} {seen} out={at}{'/world' if several else ''}",
            "clone": f"worldrl clone {data} {seen} out={at}{'/clone' if several else ''}",
            "collect": f"worldrl collect {_env(run)} out={at}/episodes policy=noisy_expert",
            "report": f"worldrl report {at} {given}",
            "demo": "worldrl demo",
        }[verb].split()
    )


def going_on(run: Run) -> str:
    """Return the command that goes on with a demo that has not ended; empty where it has, or it is none."""
    if run.places.kind != "run" or run.config is None or run.summary is not None:
        return ""
    return whole("demo", redacted(run.config), out=str(run.folder))


def _part(found: Mapping[str, Path], otherwise: str) -> str:
    return shlex.quote(str(found[""])) if "" in found else otherwise


def _env(run: Run) -> str:
    """Return the options that name the task of a run, as far as it is known."""
    about = next((data["env"] for data in run.data.values() if "env" in data), None)
    if about is None:
        task = (run.summary or {}).get("task") or run.facts.get("task")
        about = {"id": task, "kwargs": {}} if task else None
    if about is None:
        return ""
    return " ".join(map(shlex.quote, differences({"env": about})))
