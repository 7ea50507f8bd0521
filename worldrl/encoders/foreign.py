"""Vision networks of other libraries behind the interface of our own: timm, transformers and OpenCLIP.

The library is imported when a name asks for it, and may then download what is named: weights, or the few lines of a
config. Frames are normalised as the weights expect and otherwise taken as they are, neither resized nor cropped.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import CheckpointError, ConfigError, DataError, first_line
from worldrl.types import Features

Colour = tuple[float, float, float]
FORMS = ("timm:NAME", "transformers:NAME", "open_clip:NAME/PRETRAINED")
FAILURES = (OSError, RuntimeError, ValueError, LookupError, AttributeError, ImportError)
"""What the three libraries raise where a name, a network or a connection fails."""


@dataclass(frozen=True)
class Plan:
    """What is known of a network before its weights are there; layers count from one.

    Attributes:
        widths: Feature width ``d`` after each layer.
        strides: Pixels a patch is high and wide after each layer.
        mean: What to subtract from RGB in ``[0, 255]``.
        std: What to divide by then.
        size: Height and width of the pictures it was trained with; some networks read no others.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    mean: Colour
    std: Colour
    size: tuple[int, int]

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.widths)

    @property
    def default_layer(self) -> int:
        """The last layer."""
        return self.depth

    def stride(self, layer: int) -> int:
        """Return how many pixels high and wide a patch is."""
        return self.strides[layer - 1]


@dataclass(frozen=True)
class Library:
    """How a library is asked: for a plan, for a network, and for the features of a layer.

    ``plan`` and ``build`` take the library and a name in it; ``build`` also whether with pretrained weights.
    """

    module: str
    plan: Callable[[Any, str], Plan]
    build: Callable[[Any, str, bool], nn.Module]
    read: Callable[[Any, Tensor, int], Features]


class ForeignBackbone(nn.Module):
    """A network of another library, read out after any of its layers.

    Args:
        net: The network.
        plan: What is known of it.
        read: How to get the features of normalised RGB ``(b, 3, h, w)`` after a layer.
    """

    def __init__(self, net: nn.Module, plan: Plan, read: Callable[[Any, Tensor, int], Features]) -> None:
        super().__init__()
        self.net, self.plan, self.read = net, plan, read
        self.mean, self.std = plan.mean, plan.std
        self.depth, self.default_layer = plan.depth, plan.default_layer

    def width(self, layer: int) -> int:
        """Return the feature width ``d`` after a layer."""
        return self.plan.widths[layer - 1]

    def stride(self, layer: int) -> int:
        """Return how many pixels high and wide a patch is."""
        return self.plan.stride(layer)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], *, layer: int) -> Features:
        """Return the features after a layer.

        Args:
            pixels: Normalised RGB ``(b, 3, h, w)``.
            layer: The layer to read out, from one.

        Raises:
            DataError: If the network does not read frames of this size.
        """
        height, width = pixels.shape[2:]
        try:
            return self.read(self.net, pixels, layer)
        except (AssertionError, RuntimeError, ValueError) as error:
            if (height, width) == self.plan.size or isinstance(error, torch.OutOfMemoryError):
                raise
            right = "x".join(map(str, self.plan.size))
            raise DataError(
                f"frames must be {right} for this network, got {height}x{width}: {first_line(error)}."
            ) from error


def is_foreign(name: str) -> bool:
    """Return whether a name is of another library."""
    library, _, inner = name.partition(":")
    return library in LIBRARIES and inner != ""


def plan_of(name: str) -> Plan:
    """Return what is known of a network without its weights.

    Raises:
        ConfigError: If the library is not installed, or has no such network that gives features of patches.
    """
    library, module, inner = _asked(name)
    try:
        return library.plan(module, inner)
    except FAILURES as error:
        raise ConfigError(f"{library.module} must know '{inner}', but says: {first_line(error)}.") from error


def load_foreign(name: str, *, pretrained: bool) -> ForeignBackbone:
    """Build a network with the weights that its library has for it, or with random ones.

    Raises:
        ConfigError: If the library is not installed, or has no such network that gives features of patches.
        CheckpointError: If its weights cannot be had.
    """
    plan = plan_of(name)
    library, module, inner = _asked(name)
    try:
        net = library.build(module, inner, pretrained)
    except FAILURES as error:
        raise CheckpointError(f"{library.module} cannot load '{inner}': {first_line(error)}.") from error
    return ForeignBackbone(net, plan, library.read)


def _asked(name: str) -> tuple[Library, Any, str]:
    """Import the library that a name asks for."""
    prefix, _, inner = name.partition(":")
    library = LIBRARIES[prefix]
    try:
        return library, import_module(library.module), inner
    except ModuleNotFoundError as error:
        if error.name != library.module:
            raise ConfigError(
                f"{name} needs {error.name}, which is not installed: pip install {error.name}."
            ) from error
        raise ConfigError(f'{name} needs {library.module}: pip install "worldrl[{prefix}]".') from error
    except FAILURES as error:
        raise ConfigError(f"{name} needs {library.module}, which cannot be imported: {first_line(error)}.") from error


def _in_255(mean: Any, std: Any) -> tuple[Colour, Colour]:
    """Return a mean and a deviation of RGB in ``[0, 1]`` in the units of bytes."""
    (r, g, b), (sr, sg, sb) = mean, std
    return (255.0 * r, 255.0 * g, 255.0 * b), (255.0 * sr, 255.0 * sg, 255.0 * sb)


def _sides(size: Any) -> tuple[int, int]:
    """Return height and width of a size that is one number where both are the same."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _features(grid: Tensor, prefix: Tensor | None) -> Features:
    """Return features of a map ``(b, d, h, w)`` and the tokens before it ``(b, m, d)``, of which the first is CLS."""
    patches = rearrange(grid, "b d h w -> b (h w) d")
    cls = patches.mean(dim=1) if prefix is None or prefix.shape[1] == 0 else prefix[:, 0]
    return Features(cls, patches, (grid.shape[2], grid.shape[3]))


def _build_timm(timm: Any, name: str, pretrained: bool) -> nn.Module:
    """Build a network without its classifier, one that reads frames of any size where there is one."""
    try:
        net: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
    except TypeError:  # not a transformer with resizable positions
        net = timm.create_model(name, pretrained=pretrained, num_classes=0)
    return net


def _plan_timm(timm: Any, name: str) -> Plan:
    with torch.device("meta"):
        net: Any = _build_timm(timm, name, False)
    stages = list(net.feature_info)
    data = timm.data.resolve_model_data_config(net)
    mean, std = _in_255(data["mean"], data["std"])
    if not hasattr(net, "forward_intermediates"):
        raise ValueError("this network has no forward_intermediates")
    widths, strides = (tuple(stage[key] for stage in stages) for key in ("num_chs", "reduction"))
    return Plan(widths, strides, mean, std, _sides(data["input_size"][1:]))


def _read_timm(net: Any, pixels: Tensor, layer: int) -> Features:
    """Read a stage of a convolutional network, or a block of a transformer through the final norm."""
    options = {"indices": [layer - 1], "intermediates_only": True, "stop_early": True}
    if "return_prefix_tokens" not in inspect.signature(net.forward_intermediates).parameters:
        return _features(net.forward_intermediates(pixels, **options)[0], None)
    found = net.forward_intermediates(pixels, norm=True, return_prefix_tokens=True, **options)[0]
    grid, prefix = found if isinstance(found, tuple) else (found, None)  # no tuple where there are no such tokens
    return _features(grid, prefix if getattr(net, "cls_token", None) is not None else None)


def _plan_transformers(transformers: Any, name: str) -> Plan:
    config = transformers.AutoConfig.from_pretrained(name)
    vision = getattr(config, "vision_config", config)
    if not isinstance(getattr(vision, "patch_size", None), int):
        raise ValueError(f"a {config.model_type} has no square patches; timm has convolutional networks")
    base = import_module("transformers.image_processing_base").ImageProcessingMixin
    settings, _ = base.get_image_processor_dict(name)
    mean, std = _in_255(settings["image_mean"], settings["image_std"])
    depth = vision.num_hidden_layers
    return Plan((vision.hidden_size,) * depth, (vision.patch_size,) * depth, mean, std, _sides(vision.image_size))


def _build_transformers(transformers: Any, name: str, pretrained: bool) -> nn.Module:
    """Build a vision transformer; of a network of pictures and texts, the half that sees. Nothing is unpickled."""
    auto = transformers.AutoModel
    if pretrained:
        net: nn.Module = auto.from_pretrained(name, use_safetensors=True)
    else:
        net = auto.from_config(transformers.AutoConfig.from_pretrained(name))
    seeing: nn.Module = getattr(net, "vision_model", net)
    return seeing


def _read_transformers(net: Any, pixels: Tensor, layer: int) -> Features:
    """Read the last hidden state as the library gives it, or an earlier one through the final norm."""
    resize = "interpolate_pos_encoding" in inspect.signature(net.forward).parameters
    options = {"interpolate_pos_encoding": True} if resize else {}
    found = net(pixel_values=pixels, output_hidden_states=True, **options)
    norms = (getattr(net, name, None) for name in ("layernorm", "post_layernorm", "norm"))
    norm: Any = next((norm for norm in norms if norm is not None), nn.Identity())
    last = layer == len(found.hidden_states) - 1
    tokens = found.last_hidden_state if last else norm(found.hidden_states[layer])
    rows, columns = (side // net.config.patch_size for side in pixels.shape[2:])
    prefix, patches = tokens[:, : -rows * columns], tokens[:, -rows * columns :]
    return _features(rearrange(patches, "b (h w) d -> b d h w", h=rows), prefix)


def _plan_open_clip(open_clip: Any, name: str) -> Plan:
    model, _, tag = name.partition("/")
    config = open_clip.get_model_config(model)
    if config is None:
        raise ValueError("there is no model of that name")
    vision = config["vision_cfg"]
    if not isinstance(vision.get("layers"), int) or "patch_size" not in vision:
        raise ValueError("its pictures are not seen by a transformer of its own; timm has such networks")
    known = (open_clip.get_pretrained_cfg(model, tag) if tag else None) or {}
    mean, std = known.get("mean") or open_clip.OPENAI_DATASET_MEAN, known.get("std") or open_clip.OPENAI_DATASET_STD
    depth, size = vision["layers"], _sides(vision["image_size"])
    return Plan((vision["width"],) * depth, (vision["patch_size"],) * depth, *_in_255(mean, std), size)


def _build_open_clip(open_clip: Any, name: str, pretrained: bool) -> nn.Module:
    model, _, tag = name.partition("/")
    if pretrained and not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "there are none"
        raise ValueError(f"which weights must be said, as {model}/PRETRAINED, of: {tags}")
    seeing: nn.Module = open_clip.create_model(model, pretrained=tag if pretrained else None).visual
    return seeing


def _read_open_clip(net: Any, pixels: Tensor, layer: int) -> Features:
    """Read a block through the final norm."""
    found = net.forward_intermediates(
        pixels,
        indices=[layer - 1],
        stop_early=True,
        normalize_intermediates=True,
        intermediates_only=True,
        output_extra_tokens=True,
    )
    return _features(found["image_intermediates"][0], found["image_intermediates_prefix"][0])


LIBRARIES: Mapping[str, Library] = {
    "timm": Library("timm", _plan_timm, _build_timm, _read_timm),
    "transformers": Library("transformers", _plan_transformers, _build_transformers, _read_transformers),
    "open_clip": Library("open_clip", _plan_open_clip, _build_open_clip, _read_open_clip),
}
"""By the prefix of a name, which is also the extra that installs the library."""
