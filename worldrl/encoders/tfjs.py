"""Networks that TensorFlow.js keeps as a graph: read as data, and run operation by operation."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import CheckpointError

GRAPH = "graph"
"""Under which name the operations lie beside the weights, as the bytes of JSON."""
TYPES = {"float32": np.float32, "float16": np.float16, "int32": np.int32}
Attributes = Mapping[str, Any]


def read_tfjs(path: Path) -> dict[str, Tensor]:
    """Read a graph's weights from its one file of weights, and its operations from the JSON beside it.

    Raises:
        CheckpointError: If it has an operation that there is none of here, or the weights are not all there.
    """
    model = json.loads(path.with_suffix(".json").read_text())
    nodes = [node for node in model["modelTopology"]["node"] if node["op"] not in ("Const", "Placeholder")]
    unknown = sorted({node["op"] for node in nodes} - set(OPERATIONS))
    if unknown:
        raise CheckpointError(f"{path.name} must be made of {', '.join(OPERATIONS)}, got {', '.join(unknown)}.")
    tensors, content, start = {}, path.read_bytes(), 0
    for weight in model["weightsManifest"][0]["weights"]:
        kind = np.dtype(TYPES[weight.get("quantization", weight)["dtype"]])
        count = int(np.prod(weight["shape"]))
        values = np.frombuffer(content, kind, count, start).reshape(weight["shape"])
        start += count * kind.itemsize
        tensors[weight["name"]] = torch.from_numpy(values.astype(TYPES[weight["dtype"]]))
    if start != len(content):
        raise CheckpointError(f"{path} must hold {start} bytes of weights, got {len(content)}.")
    rows = [[node["name"], node["op"], node["input"], node["attr"]] for node in nodes]
    return tensors | {GRAPH: torch.frombuffer(bytearray(json.dumps(rows).encode()), dtype=torch.uint8).clone()}


class Graph(nn.Module):
    """A network as ``read_tfjs`` read it.

    Args:
        tensors: Its weights by name, and its operations.
        inputs: The name of what it reads.
        outputs: The names of what is wanted.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, inputs: str, outputs: tuple[str, ...]) -> None:
        super().__init__()
        rows = json.loads(tensors[GRAPH].numpy().tobytes())
        self.inputs, self.outputs = inputs, outputs
        self._names = {name: f"w{i}" for i, name in enumerate(name for name in tensors if name != GRAPH)}
        for name, place in self._names.items():
            self.register_buffer(place, tensors[name])
        self._rows = _in_order({name: (op, sources, attributes) for name, op, sources, attributes in rows}, outputs)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for what the network reads."""
        known: dict[str, Any] = {name: getattr(self, place) for name, place in self._names.items()}
        known[self.inputs] = values
        for name, op, sources, attributes in self._rows:
            known[name] = OPERATIONS[op]([_value(known, source) for source in sources], attributes)
        return tuple(known[name] for name in self.outputs)


def _in_order(
    nodes: Mapping[str, tuple[str, list[str], Attributes]], outputs: tuple[str, ...]
) -> list[tuple[str, str, list[str], Attributes]]:
    """Return the operations that outputs need, each after those that it needs itself."""
    done, rows, waiting = set[str](), list[tuple[str, str, list[str], Attributes]](), list(reversed(outputs))
    while waiting:
        name = waiting[-1]
        op, sources, attributes = nodes[name]
        before = [plain for source in sources if (plain := source.split(":")[0]) in nodes and plain not in done]
        if before:
            waiting += before
            continue
        waiting.pop()
        if name not in done:
            done.add(name)
            rows.append((name, op, sources, attributes))
    return rows


def _value(known: Mapping[str, Any], source: str) -> Any:
    """Return what an operation reads; of one with several results, the one after the colon, or else the first."""
    name, _, which = source.partition(":")
    value = known[name]
    return value[int(which or 0)] if isinstance(value, tuple) else value


def _numbers(attributes: Attributes, name: str) -> list[int]:
    return [int(number) for number in attributes[name]["list"]["i"]]


def _conv(values: list[Any], attributes: Attributes) -> Tensor:
    """Convolve maps whose channels lie last, without padding: the graph pads by itself."""
    _, down, right, _ = _numbers(attributes, "strides")
    maps, weight = rearrange(values[0], "b h w c -> b c h w").contiguous(), values[1].permute(3, 2, 0, 1)
    return rearrange(F.conv2d(maps, weight, stride=(down, right)), "b c h w -> b h w c")


def _pool(values: list[Any], attributes: Attributes) -> Tensor:
    (_, high, wide, _), (_, down, right, _) = _numbers(attributes, "ksize"), _numbers(attributes, "strides")
    pooled = F.max_pool2d(rearrange(values[0], "b h w c -> b c h w"), (high, wide), (down, right))
    return rearrange(pooled, "b c h w -> b h w c")


def _pad(values: list[Any], attributes: Attributes) -> Tensor:
    ends = [int(end) for axis in reversed(values[1].tolist()) for end in axis]
    return F.pad(values[0], ends, value=float(values[2]) if len(values) > 2 else 0.0)


def _resize(values: list[Any], attributes: Attributes) -> Tensor:
    if not attributes["half_pixel_centers"]["b"] or attributes["align_corners"]["b"]:
        raise CheckpointError(
            "maps can be resized about the middles of their pixels only, and this graph asks otherwise."
        )
    size = [int(side) for side in values[1].tolist()]
    maps = rearrange(values[0], "b h w c -> b c h w")
    return rearrange(F.interpolate(maps, size=size, mode="bilinear", align_corners=False), "b c h w -> b h w c")


def _dense(values: list[Any], attributes: Attributes) -> Tensor:
    """Return a vector that is one value but for some places."""
    places, size, given, other = values
    dense = torch.full([int(size[0])], int(other), dtype=given.dtype)
    dense[places[:, 0].long()] = given
    return dense


def _split(values: list[Any], attributes: Attributes) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = values[0].split(values[1].tolist(), dim=int(values[2]))
    return parts


OPERATIONS: dict[str, Callable[[list[Any], Attributes], Any]] = {
    "Add": lambda values, _: values[0] + values[1],
    "AddV2": lambda values, _: values[0] + values[1],
    "ConcatV2": lambda values, _: torch.cat(values[:-1], dim=int(values[-1])),
    "Conv2D": _conv,
    "Identity": lambda values, _: values[0],
    "LeakyRelu": lambda values, attributes: F.leaky_relu(values[0], float(attributes["alpha"]["f"])),
    "MaxPool": _pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": lambda values, _: values[0].reshape(values[1].tolist()),
    "ResizeBilinear": _resize,
    "Sigmoid": lambda values, _: values[0].sigmoid(),
    "SparseToDense": _dense,
    "SplitV": _split,
    "Transpose": lambda values, _: values[0].permute(values[1].tolist()),
}
"""What the graphs that we read are made of."""
