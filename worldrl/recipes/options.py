"""What several recipes let one choose: typed groups of options, and what is refused of them."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError


def option(default: Any, text: str) -> Any:
    """Return a dataclass field with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass
class EnvOptions:
    """Which real task."""

    id: str = option("worldrl/Reach-v0", "id of a registered environment")
    kwargs: dict[str, Any] = field(
        default_factory=lambda: {"size": 98, "max_steps": 40}, metadata={"help": "arguments of its constructor"}
    )


@dataclass
class EncoderOptions:
    """Which frozen encoder: the arguments of ``worldrl.encoders.load_encoder``."""

    name: str = option(
        "dinov2_vits14",
        "name in the registry, timm:NAME, transformers:NAME, open_clip:NAME/TAG, or none for masks alone",
    )
    layer: int | None = option(None, "layer to read out, from one; null for the encoder's own default")
    random_init: bool = option(False, "leave the weights at random: the control for what pretraining brings")
    seed: int = option(0, "of the random weights")
    keep: int = option(
        0, "patches with features of their own, those that stand out; the others share theirs; 0 for all"
    )
    merge: int = option(0, "tokens that patches are merged into, those that are alike; 0 for no merging")


@dataclass
class ObjectOptions:
    """How objects are found and told."""

    masks: str = option(
        "simulator",
        "simulator (privileged ground truth), few_shot (from annotated frames), none (prototypes of patch features) or "
        "no_objects (visual tokens alone)",
    )
    annotations: str = option("", "folder of annotated frames (worldrl annotate), for few_shot")
    components: int = option(32, "numbers an object that say what it looks like")
    groups: int = option(8, "number of prototypes without masks")
    names: list[str] = field(
        default_factory=list, metadata={"help": "which objects become tokens, in this order; empty for all"}
    )
    slots: int = option(0, "object tokens at least; those a task has no object for stay zero")
    visual: int = option(0, "visual tokens of the whole frame after the objects: 0, 1, 4 or 16")
    visual_steps: int = option(1500, "gradient steps of the tokenizer that makes them")


@dataclass
class WorldModelOptions:
    """Shape of the world model."""

    history: int = option(4, "past observations it looks at")
    steps: int = option(1, "sampling steps of a step of imagination; a second one comes too late to change anything")
    sampler: str = option(
        "euler", "euler: a network evaluation each; distilled: one for all, by a network that fit teaches to"
    )
    backbone: str = option("transformer", "what reads tokens: transformer, flat (frames are read by a U-Net)")
    size: str = option("small", "name of a size: tiny, small, medium, base; of frames also published")
    action_code: str = option("two_hot", "form in which actions reach it: two_hot, one_hot, linear, vq")


@dataclass
class EngineOptions:
    """Which processes train, and how: what is learnt is the same, but for rounding."""

    processes: int = option(
        1, "processes of this machine that share each batch; 1 also where accelerate launch or torchrun begins them"
    )
    shard: bool = option(False, "share weights and optimiser among them (FSDP) rather than copy them (DDP)")
    accumulate: int = option(1, "parts of its rows that a process takes one after the other in a gradient step")
    precision: str = option("no", "no for float32, bf16 for bfloat16 in the network")
    device: str = option("cpu", "cpu, or cuda for a GPU each")
    keep_every: int = option(
        500, "gradient steps after which an interrupted training is kept, to go on from there; 0 for never"
    )
    patience_s: float = option(120.0, "seconds after which processes that do not answer are given up")


@dataclass
class ClusterOptions:
    """Which Ray cluster runs episodes, rather than this machine."""

    address: str = option("", "local, auto or HOST:PORT of a Ray cluster; empty for this machine without Ray")
    workers: int = option(2, "workers there, a processor each")
    patience_s: float = option(120.0, "seconds without an answer after which the cluster is given up")

    def cluster(self) -> Any:
        """Return the cluster; None for this machine."""
        from worldrl.data.cluster import Cluster

        return Cluster(self.address, self.workers, self.patience_s) if self.address else None


def check_cluster(options: ClusterOptions) -> None:
    """Refuse a cluster that there cannot be.

    Raises:
        ConfigError: If a number is out of range, or Ray is not installed.
    """
    check_positive(workers=options.workers, patience_s=options.patience_s)
    if options.address and find_spec("ray") is None:
        raise ConfigError(f"cluster.address={options.address} needs Ray: pip install 'worldrl[ray]'.")


def check_engine(options: EngineOptions) -> None:
    """Refuse processes, devices and precisions that there cannot be.

    Raises:
        ConfigError: If an option is out of range.
        DeviceError: If there are fewer devices than processes.
    """
    from worldrl.world_model.engine import PRECISIONS, check_devices, launched

    check_positive(processes=options.processes, accumulate=options.accumulate, patience_s=options.patience_s)
    if options.precision not in PRECISIONS:
        raise ConfigError(f"engine.precision must be one of {', '.join(PRECISIONS)}, got '{options.precision}'.")
    if options.keep_every < 0:
        raise ConfigError(f"engine.keep_every must be 0 or more, got {options.keep_every}.")
    begun = launched()
    if begun > 1 and options.processes not in (1, begun):
        raise ConfigError(f"engine.processes must be 1 or the {begun} that were launched, got {options.processes}.")
    check_devices(options.device, max(options.processes, launched("LOCAL_WORLD_SIZE")))


def check_observation(encoder: EncoderOptions, objects: ObjectOptions, pixels: int, *, size: int | None) -> None:
    """Refuse an observation that there is none of.

    Args:
        encoder: The frozen encoder; not looked at where frames are observed.
        objects: How objects are found; not looked at where frames are observed.
        pixels: Side of the frames that are observed; 0 for tokens.
        size: Side of the frames that are recorded; None where that is not known yet.

    Raises:
        ConfigError: If an encoder, a layer or masks do not exist or do not go together, or frames do not fit.
    """
    from worldrl.encoders import check_encoder, patch_of
    from worldrl.encoders.tokens import check_tokens
    from worldrl.frame_observation import FramePipeline
    from worldrl.observation_fit import MASKS

    if pixels:
        FramePipeline(pixels)
        if size is not None and pixels > size:
            raise ConfigError(f"pixels must be at most the {size} of the recorded frames, got {pixels}.")
        return
    if encoder.name != "none":
        check_encoder(encoder.name, option="encoder.name", others=["none"])
    check_tokens(encoder.keep, encoder.merge)
    if objects.masks not in MASKS:
        raise ConfigError(f"objects.masks must be one of {', '.join(MASKS)}, got '{objects.masks}'.")
    if objects.masks == "none" and encoder.name == "none":
        raise ConfigError("objects.masks=none needs a frozen encoder, got encoder.name=none: choose one, or masks.")
    if (objects.masks == "few_shot") != bool(objects.annotations):
        raise ConfigError(
            "objects.masks=few_shot and objects.annotations=FOLDER go together, "
            f"got masks={objects.masks} and annotations='{objects.annotations}': worldrl annotate makes such a folder."
        )
    _check_visual(encoder, objects)
    check_positive(components=objects.components, groups=objects.groups)
    if objects.slots < 0:
        raise ConfigError(f"objects.slots must be 0 or more, got {objects.slots}.")
    if encoder.name != "none":
        patch = patch_of(encoder.name, encoder.layer)
        if size is not None and (size < patch or size % patch):
            near = max(1, round(size / patch)) * patch
            raise ConfigError(
                f"frames must be a multiple of {patch} pixels for {encoder.name}, got {size}: "
                f"use {near}, or encoder=none."
            )


def _check_visual(encoder: EncoderOptions, objects: ObjectOptions) -> None:
    """Refuse visual tokens that there cannot be, and no objects where there is nothing else or something of them."""
    from worldrl.encoders.tokenizer import check_tokens

    check_positive(visual_steps=objects.visual_steps)
    if objects.visual:
        check_tokens(objects.visual)
    if objects.masks == "no_objects" and (not objects.visual or encoder.name != "none" or objects.slots):
        raise ConfigError(
            "objects.masks=no_objects needs objects.visual=4 (or 1, 16), encoder.name=none and objects.slots=0, "
            f"got visual={objects.visual}, encoder.name={encoder.name} and slots={objects.slots}."
        )


def check_world_model(options: WorldModelOptions, *, pixels: int | None = 0) -> None:
    """Refuse a world model that cannot be built.

    Args:
        options: Its shape.
        pixels: Side of the frames that it is to observe; 0 for tokens, None where that is not known yet.

    Raises:
        ConfigError: If there is no such backbone, size, sampler or code, or it would see no past or take no step.
    """
    from worldrl.diffusion.actions import ACTION_CODES
    from worldrl.world_model.model import BACKBONES, FRAME_SIZES, SAMPLERS, TOKEN_SIZES

    check_positive(history=options.history, steps=options.steps)
    if options.backbone not in BACKBONES:
        raise ConfigError(f"world_model.backbone must be one of {', '.join(BACKBONES)}, got '{options.backbone}'.")
    if options.sampler not in SAMPLERS:
        raise ConfigError(f"world_model.sampler must be one of {', '.join(SAMPLERS)}, got '{options.sampler}'.")
    if options.sampler == "distilled" and options.steps == 1:
        raise ConfigError("world_model.sampler=distilled needs world_model.steps=3 or so of its teacher, got 1.")
    sizes = TOKEN_SIZES if pixels == 0 else FRAME_SIZES
    if options.size not in sizes:
        raise ConfigError(f"world_model.size must be one of {', '.join(sizes)}, got '{options.size}'.")
    if options.action_code not in ACTION_CODES:
        known = ", ".join(ACTION_CODES)
        raise ConfigError(f"world_model.action_code must be one of {known}, got '{options.action_code}'.")


def check_env_id(env_id: str) -> None:
    """Refuse an environment that nobody registered.

    Raises:
        ConfigError: If there is none of that name, or a module of ``WORLDRL_ENVS`` cannot be imported.
    """
    import difflib

    import gymnasium as gym

    from worldrl.envs.registration import import_further

    import_further()
    if env_id not in gym.registry:
        known = [name for name in gym.registry if name.startswith("worldrl/")]
        close = difflib.get_close_matches(env_id, known, n=1)
        hint = f": did you mean '{close[0]}'?" if close else ": worldrl envs lists them."
        raise ConfigError(f"no environment is called '{env_id}'{hint}")


def check_json(out: Path) -> None:
    """Refuse a file of figures that has no other name for the table beside it.

    Raises:
        ConfigError: If its name does not end in ``.json``.
    """
    if out.suffix != ".json":
        raise ConfigError(f"out must be a file that ends in .json, got '{out}': the table is put beside it.")


def check_threads(count: int) -> None:
    """Refuse a negative number of threads.

    Raises:
        ConfigError: If it is one.
    """
    if count < 0:
        raise ConfigError(f"threads must be 0 or more, got {count}.")


def check_keep_every(every: int) -> None:
    """Refuse to keep a training after less than no steps.

    Raises:
        ConfigError: If that is asked for.
    """
    if every < 0:
        raise ConfigError(f"keep_every must be 0 or more, got {every}.")


def check_positive(**numbers: float) -> None:
    """Refuse options that must be above zero.

    Raises:
        ConfigError: At the first that is not.
    """
    for name, number in numbers.items():
        if number <= 0:
            raise ConfigError(f"{name} must be positive, got {number}.")
