"""Model cards: the ``README.md`` of what is saved, with the front matter that the Hugging Face hub reads.

A card is made of the config of a checkpoint and of the facts that recipes know beside it (``worldrl.facts.tell``),
and of nothing else: the same checkpoint has the same card.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LICENCE = "mit"
LIMITS = (
    "Imagined success is not success: what a world model pays for may not exist, and only MuJoCo decides. "
    "Figures hold for the task, the data and the observation pipeline named here, and for no real robot."
)


@dataclass(frozen=True)
class Kind:
    """What a card says of a kind of checkpoint.

    Attributes:
        title: What it is, in two or three words.
        what: The same in a sentence.
        load: Python that loads it from ``PATH``, at most three lines.
        tags: For the hub, beside ``worldrl``.
        pipeline: The hub's ``pipeline_tag``; empty where none of theirs is right.
    """

    title: str
    what: str
    load: str
    tags: tuple[str, ...] = ()
    pipeline: str = ""


def _load(module: str, name: str) -> str:
    return f"from {module} import {name}\n\nfound = {name}.from_pretrained(PATH)"


RL = "reinforcement-learning"
KINDS: dict[str, Kind] = {
    "world": Kind(
        "Imagined world",
        "A diffusion world model with the starts and the decoder of an imagined gymnasium environment.",
        "import gymnasium as gym\nimport worldrl\n"
        'env = gym.make_vec("worldrl/Imagined-v0", 8, "vector_entry_point", checkpoint=PATH)',
        ("world-model", "diffusion", "gymnasium"), RL,
    ),
    "world_model": Kind(
        "World model", "A diffusion model of the next observation, with its success classifier.",
        _load("worldrl.world_model.model", "DiffusionWorldModel"), ("world-model", "diffusion"), RL,
    ),
    "starts": Kind(
        "Starts of a world", "The recorded histories that imagined episodes start from; a part of a world.",
        'from worldrl import checkpoint\n\nfound = checkpoint.load(PATH, kind="starts")', ("world-model",),
    ),
    "decoder": Kind(
        "Decoder of tokens", "Draws tokens as pictures for people to look at; nothing is decided by it.",
        "from pathlib import Path\nfrom worldrl.world_model.world import load_decoder\n"
        "found = load_decoder(Path(PATH))",
        ("world-model",),
    ),
    "policy": Kind(
        "Policy", "A policy over the observations of its pipeline; actions are in [-1, 1].",
        "from worldrl.agents.policy import load_policy\n\npolicy, origin = load_policy(PATH)", ("policy",), RL,
    ),
    "actor_critic": Kind(
        "Actor and critic", "An actor-critic trained in the imagination of a STORM world model.",
        _load("worldrl.agents.actor_critic", "ActorCritic"), ("policy",), RL,
    ),
    "storm": Kind(
        "STORM world model", "A transformer world model over categorical latents of objects and pictures.",
        _load("worldrl.storm.model", "StormWorldModel"), ("world-model",), RL,
    ),
    "observation": Kind(
        "Observation pipeline", "Turns frames, proprioception and labels into what worlds and policies see.",
        "from pathlib import Path\nfrom worldrl.recipes.parts import pipeline_at\n"
        "with pipeline_at(Path(PATH), None) as pipeline: ...", ("perception",),
    ),
    "tokenizer": Kind(
        "Frame tokenizer", "An autoencoder whose latent is a few visual tokens a frame.",
        _load("worldrl.encoders.tokenizer", "FrameTokenizer"), ("perception",),
    ),
    "annotations": Kind(
        "Annotations", "A few annotated frames, from which masks of all others are found.",
        _load("worldrl.objects.annotations", "Annotations"), ("perception",),
    ),
    "goals": Kind(
        "Text goals", "Judges by a sentence whether an observation is a success.",
        _load("worldrl.recipes.text_goals", "Goals"), ("language",), RL,
    ),
    "two_tower": Kind(
        "Picture and text towers", "Two towers that bring pictures and sentences into one space.",
        _load("worldrl.language.two_tower", "TwoTower"), ("language", "contrastive"),
    ),
    "language_model": Kind(
        "Language model of words", "A small causal language model over the captions of scenes.",
        _load("worldrl.language.causal_lm", "WordLM"), ("language",),
    ),
    "grain": Kind(
        "GRAIN", "Open-vocabulary recognition by descriptions of parts, on top of frozen towers.",
        _load("worldrl.language.grain", "Grain"), ("language",),
    ),
    "prompt_start": Kind(
        "Start of prompts", "Where the tuning of prompts begins, learned over many tasks.",
        _load("worldrl.language.gram", "PromptStart"), ("language",),
    ),
}  # fmt: skip
"""Every kind of checkpoint that has a card; parts of caches and of unfinished training have none."""

SHOWN = {
    "task": "Task", "obs_shape": "Observations", "act_dim": "Numbers of an action",
    "horizon": "Decisions of an episode",
    "masks": "Masks", "encoder": "Encoder", "objects": "Objects", "inputs": "What it is shown",
    "episodes": "Episodes it learned from", "scenes": "Labelled scenes it learned from",
    "documents": "Texts it learned from",
    "real_steps": "Real steps it learned from", "imagined_steps": "Imagined steps it learned from",
    "real_success": "Success in the task itself", "imagined_success": "Success in imagination",
    "real_ret": "Return in the task itself", "imagined_ret": "Return in imagination",
    "pipeline": "Observation pipeline",
    "parameters": "Numbers in it", "class": "Class", "history": "Observations of a past", "steps": "Sampling steps",
}  # fmt: skip
"""What is shown of a config and of the facts, in this order, and under which name."""


def card(kind: str, config: Mapping[str, Any], facts: Mapping[str, Any], *, version: str) -> str:
    """Return the model card of a checkpoint, or nothing for a kind that has none.

    Args:
        kind: A key of ``KINDS``.
        config: What its ``config.json`` holds.
        facts: What else is known, by the names of ``SHOWN``; plain JSON values.
        version: Of worldrl.
    """
    about = KINDS.get(kind)
    if about is None:
        return ""
    known = {**config, **config.get("origin", {}), **facts}
    if "task" not in facts and not isinstance(known.get("task"), str):
        known.pop("task", None)  # a world model numbers its tasks
    front = [f"library_name: {json.dumps('worldrl')}", f"license: {json.dumps(LICENCE)}"]
    front += [f"pipeline_tag: {json.dumps(about.pipeline)}"] if about.pipeline else []
    tags = ["worldrl", *about.tags, *([known["task"]] if "task" in known else [])]
    front += ["tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    rows = [f"| {name} | {_cell(key, known[key])} |" for key, name in SHOWN.items() if known.get(key) is not None]
    table = ["| | |", "|---|---|", *rows, f"| worldrl | {version} |"]
    sections = [
        ["---", *front, "---"],
        [f"# {about.title}"],
        [about.what],
        table,
        ["## Loading", "", "```python", *about.load.replace("PATH", json.dumps("hub:OWNER/NAME")).splitlines(), "```"],
        ["`hub:OWNER/NAME` downloads; a folder on this machine is written as its path, and nothing is looked up."],
        ["## Limits", "", LIMITS],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _cell(key: str, value: Any) -> str:
    """Return a value as one cell of the table."""
    if isinstance(value, Mapping):
        value = value.get("name", value)
    if key == "pipeline":
        value = str(value)[:12]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
