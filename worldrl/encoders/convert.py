"""Foreign weight files, read without importing or unpickling anything, under the names of our own modules."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldrl.encoders.tfjs import read_tfjs
from worldrl.errors import CheckpointError, WorldRLError, first_line
from worldrl.torch_file import read_state

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
TINYVIT_RENAMED = (("patch_embed.seq.seq.0", "stem.0"), ("patch_embed.seq.seq.2", "stem.1"), ("neck.neck", "neck"))
MINILM_RENAMED = (
    ("embeddings.word_embeddings.", "words."),
    ("embeddings.LayerNorm.", "norm."),
    ("encoder.layer.", "blocks."),
    ("attention.self.", ""),
    ("attention.output.dense.", "out."),
    ("attention.output.LayerNorm.", "norm1."),
    ("intermediate.dense.", "fc1."),
    ("output.dense.", "fc2."),
    ("output.LayerNorm.", "norm2."),
)
XFEAT_RENAMED = (("skip1.1.", "skip."), (".layer.0.", ".conv."), (".layer.1.", ".norm."))


def read_source(read: Callable[[Path], dict[str, Tensor]], path: Path) -> dict[str, Tensor]:
    """Read a foreign file by one of the readers below.

    Raises:
        CheckpointError: If it is damaged, or of something else.
    """
    try:
        return read(path)
    except WorldRLError:
        raise
    except Exception as error:  # the libraries that know these files answer damage with whatever comes first
        raise CheckpointError(f"{path} cannot be read as weights: {first_line(error)}.") from error


def read_dinov2_onnx(path: Path) -> dict[str, Tensor]:
    """Read DINOv2 from an ONNX export of transformers' ``Dinov2Model``.

    Named initialisers keep their names below ``backbone.``; the anonymous weight of a linear layer takes the name of
    the node that multiplies with it, and stands transposed there.
    """
    nodes, values, _ = _graph(path)
    named = {
        name.removeprefix("backbone."): value
        for name, value in values.items()
        if not name.startswith(("onnx::", HEAD_PREFIX))
    }
    for node in nodes:
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
    return _joined({_renamed(name, RENAMED): value for name, value in tensors.items()})


def read_tinyvit_onnx(path: Path) -> dict[str, Tensor]:
    """Read MobileSAM's image encoder from ONNX: batch norms are folded into its convolutions already.

    An anonymous weight takes the name of its node; the bias of an attention is the constant that is added there.
    """
    nodes, values, constants = _graph(path)
    named = {name: value for name, value in values.items() if not name.startswith("onnx::")}
    for node in nodes:
        layer = node.name.strip("/").replace("/", ".").removesuffix(f".{node.op_type}").removesuffix(".c")
        layer = _renamed(layer, TINYVIT_RENAMED)
        weights = [values[name] for name in node.input if name in values and name.startswith("onnx::")]
        constant = next((constants[name] for name in node.input if name in constants), None)
        if node.op_type == "Conv" and weights:
            named[f"{layer}.weight"], named[f"{layer}.bias"] = weights
        elif node.op_type == "MatMul" and weights:
            named[f"{layer}.weight"] = weights[0].T.contiguous()
        elif node.op_type == "Add" and layer.endswith(".attn") and constant is not None and constant.ndim == 3:
            named[f"{layer}.bias"] = constant
        elif weights and layer.startswith("neck."):
            part = "weight" if node.op_type == "Mul" else "bias"
            named[f"{layer.removesuffix('.Add_1')}.{part}"] = weights[0].flatten()
    return named


def read_sam_onnx(path: Path) -> dict[str, Tensor]:
    """Read SAM's prompt encoder and mask decoder from ONNX.

    What the export folded into constants is found at the node that uses it: norms of maps, the code of no mask, and the
    five tokens that the masks and their quality are read from.
    """
    nodes, values, _ = _graph(path)
    named = {
        name.removeprefix("mask_decoder.").removeprefix("model.prompt_encoder."): value
        for name, value in values.items()
        if not name.startswith("onnx::")
    }
    named["gaussian"] = named.pop("pe_layer.positional_encoding_gaussian_matrix")
    named["points"] = torch.cat([named.pop(f"point_embeddings.{i}.weight") for i in range(4)])
    named["outside"] = named.pop("not_a_point_embed.weight").flatten()
    for node in nodes:
        weight = next((values[name] for name in node.input if name in values and name.startswith("onnx::")), None)
        if weight is None:
            continue
        place = node.name.strip("/").split("/")
        if node.op_type == "MatMul":
            named[".".join([*place[:-1], "weight"])] = weight.T.contiguous()
        elif node.op_type == "Expand":
            named["queries"] = weight[0]
        elif weight.shape[0] == 1:
            named["no_mask"] = weight.flatten()
        else:
            named[f"{place[-2]}.{'weight' if node.op_type == 'Mul' else 'bias'}"] = weight.flatten()
    return named


def read_efficientnet_pth(path: Path) -> dict[str, Tensor]:
    """Read EfficientNet-Lite0 from a PyTorch state dict whose names differ from ours by leading underscores."""
    state = read_state(path)
    return {".".join(part.removeprefix("_") for part in name.split(".")): value for name, value in state.items()}


def read_xfeat_pt(path: Path) -> dict[str, Tensor]:
    """Read XFeat from a PyTorch state dict, without the matcher that refines pairs."""
    state = read_state(path)
    return {_renamed(name, XFEAT_RENAMED): x for name, x in state.items() if not name.startswith("fine_matcher.")}


def read_minilm_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all-MiniLM-L6-v2 and, as the bytes of ``vocab.txt`` beside it, its vocabulary.

    Its pooler is left out: sentence vectors are a mean. Its first segment is added to the positions.
    """
    from safetensors.torch import load_file

    state = load_file(path)
    named = {_renamed(name, MINILM_RENAMED): x for name, x in state.items() if name.startswith(("encoder", "embed"))}
    segments = named.pop("embeddings.token_type_embeddings.weight")
    named["positions"] = named.pop("embeddings.position_embeddings.weight") + segments[0]
    named.pop("embeddings.position_ids")
    words = torch.frombuffer(bytearray(path.with_name("vocab.txt").read_bytes()), dtype=torch.uint8)
    return _joined(named) | {"vocabulary": words}


def read_imagenet_names(path: Path) -> dict[str, Tensor]:
    """Read what the classes of ImageNet-1k are called as bytes: a line each, the first of WordNet's words for it.

    The order is that of ``imagenet_synsets.txt`` beside it.
    """
    words = dict(line.split("\t") for line in path.read_text().splitlines())
    order = path.with_name("imagenet_synsets.txt").read_text().split()
    text = "\n".join(words[synset].split(", ")[0] for synset in order)
    return {"names": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}


def read_stlpips_pth(path: Path) -> dict[str, Tensor]:
    """Read ST-LPIPS from a PyTorch state dict: five convolutions and the weights of their maps.

    Its blur filters and the normalisation of pixels are constants, which ``ShiftTolerantLpips`` has itself.
    """
    state = read_state(path)
    convs = [name.removesuffix(".weight") for name in state if name.startswith("net.") and name.endswith(".weight")]
    named = {
        f"convs.{i}.{part}": state[f"{name}.{part}"] for i, name in enumerate(convs) for part in ("weight", "bias")
    }
    return named | {f"lins.{i}.weight": state[f"lin{i}.model.1.weight"] for i in range(len(convs))}


def _renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a name with every old part replaced by its new one, in order."""
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def _joined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value of every attention."""
    for name in [name for name in tensors if ".query." in name]:
        parts = [tensors.pop(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        tensors[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return tensors


def _graph(path: Path) -> tuple[list[Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return the nodes of an ONNX graph, its weights by name, and its constants by the name of what they give."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {value.name: torch.tensor(numpy_helper.to_array(value)) for value in graph.initializer}
    constants = {
        node.output[0]: torch.tensor(numpy_helper.to_array(node.attribute[0].t))
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    return list(graph.node), values, constants


READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    "dinov2_vits14": read_dinov2_onnx,
    "efficientnet_lite0": read_efficientnet_pth,
    "tinyvit": read_tinyvit_onnx,
    "sam_decoder": read_sam_onnx,
    "xfeat": read_xfeat_pt,
    "minilm": read_minilm_safetensors,
    "names": read_imagenet_names,
    "tfjs": read_tfjs,
    "stlpips": read_stlpips_pth,
}
