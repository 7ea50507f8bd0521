"""Foreign weight files, read without importing or unpickling anything, under the names of our own modules."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

HEAD_PREFIX = "decoder."  # the saliency head that shares the file with the backbone
CLS_POSITION, GRID_POSITIONS = "onnx::Concat_1957", "onnx::Reshape_1962"
RENAMED = (
    ("embeddings.patch_embeddings.projection.", "patchify."),
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.position_embeddings", "positions"),
    ("encoder.layer.", "blocks."),
    (".attention.attention.", "."),
    (".attention.output.dense.", ".out."),
    (".layer_scale1.lambda1", ".scale1"),
    (".layer_scale2.lambda1", ".scale2"),
    (".mlp.", "."),
    ("layernorm.", "norm."),
)


def read_dinov2_onnx(path: Path) -> dict[str, Tensor]:
    """Read DINOv2 from an ONNX export of transformers' ``Dinov2Model``.

    Named initialisers keep their names below ``backbone.``; the anonymous weight of a linear layer takes the name of
    the node that multiplies with it, and stands transposed there.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {value.name: torch.tensor(numpy_helper.to_array(value)) for value in graph.initializer}
    named = {
        name.removeprefix("backbone."): value
        for name, value in values.items()
        if not name.startswith(("onnx::", HEAD_PREFIX))
    }
    for node in graph.node:
        weight = next((name for name in node.input if name in values and name.startswith("onnx::")), None)
        if node.op_type == "MatMul" and weight is not None:
            layer = node.name.strip("/").replace("/", ".").removeprefix("backbone.").removesuffix(".MatMul")
            named[f"{layer}.weight"] = values[weight].T.contiguous()
    named["embeddings.position_embeddings"] = torch.cat([values[CLS_POSITION], values[GRID_POSITIONS]], dim=1)
    return rename_dinov2(named)


def read_dinov2_safetensors(path: Path) -> dict[str, Tensor]:
    """Read DINOv2 as the hub serves it."""
    from safetensors.torch import load_file

    return rename_dinov2({name: value for name, value in load_file(path).items() if "mask_token" not in name})


def rename_dinov2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the names of transformers' ``Dinov2Model`` into those of ``DinoV2`` and join query, key and value."""
    renamed = {}
    for name, value in tensors.items():
        for old, new in RENAMED:
            name = name.replace(old, new)
        renamed[name] = value
    for name in [name for name in renamed if ".query." in name]:
        parts = [renamed.pop(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        renamed[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return renamed


def read_efficientnet_pth(path: Path) -> dict[str, Tensor]:
    """Read EfficientNet-Lite0 from a PyTorch state dict whose names differ from ours by leading underscores."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {".".join(part.removeprefix("_") for part in name.split(".")): value for name, value in state.items()}


def read_stlpips_pth(path: Path) -> dict[str, Tensor]:
    """Read ST-LPIPS from a PyTorch state dict: five convolutions and the weights of their maps.

    Its blur filters and the normalisation of pixels are constants, which ``ShiftTolerantLpips`` has itself.
    """
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    convs = [name.removesuffix(".weight") for name in state if name.startswith("net.") and name.endswith(".weight")]
    named = {
        f"convs.{i}.{part}": state[f"{name}.{part}"] for i, name in enumerate(convs) for part in ("weight", "bias")
    }
    return named | {f"lins.{i}.weight": state[f"lin{i}.model.1.weight"] for i in range(len(convs))}


READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    "dinov2_vits14": read_dinov2_onnx,
    "efficientnet_lite0": read_efficientnet_pth,
    "stlpips": read_stlpips_pth,
}
