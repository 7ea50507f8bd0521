"""Graphs of TensorFlow.js: read without running anything, and right operation by operation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.nanodet import BINS, NanoDet, _best, _boxes
from worldrl.encoders.tfjs import OPERATIONS, Graph, read_tfjs
from worldrl.encoders.weights import converted_folder
from worldrl.errors import CheckpointError


def write(folder: Path, nodes: list[dict[str, object]], weights: dict[str, np.ndarray]) -> Path:
    """Write a graph as TensorFlow.js does: floats as half precision."""
    manifest, content = [], b""
    for name, values in weights.items():
        half = values.dtype == np.float32
        row = {"name": name, "shape": list(values.shape), "dtype": str(values.dtype)}
        manifest.append(row | ({"quantization": {"dtype": "float16"}} if half else {}))
        content += (values.astype(np.float16) if half else values).tobytes()
    model = {"modelTopology": {"node": nodes}, "weightsManifest": [{"paths": ["g.bin"], "weights": manifest}]}
    (folder / "g.json").write_text(json.dumps(model))
    (folder / "g.bin").write_bytes(content)
    return folder / "g.bin"


def node(name: str, op: str, *inputs: str, **attributes: object) -> dict[str, object]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def test_operations_run_in_the_order_that_they_need_each_other(tmp_path: Path) -> None:
    nodes = [
        node("out", "Sigmoid", "parts:1"),
        node("parts", "SplitV", "sum", "sizes", "axis"),
        node("sum", "AddV2", "x", "one"),
        node("unused", "Identity", "sum"),
    ]
    one, sizes, axis = np.ones(3, np.float32), np.array([1, 2], np.int32), np.array(0, np.int32)
    path = write(tmp_path, nodes, {"one": one, "sizes": sizes, "axis": axis})
    graph = Graph(read_tfjs(path), inputs="x", outputs=("out",))
    (out,) = graph(torch.tensor([5.0, -1.0, 1.0]))
    assert torch.allclose(out, torch.sigmoid(torch.tensor([0.0, 2.0])))


def test_a_convolution_has_its_channels_last_and_no_padding_of_its_own() -> None:
    maps, weight = torch.randn(1, 5, 5, 2), torch.randn(3, 3, 2, 4)
    out = OPERATIONS["Conv2D"]([maps, weight], {"strides": {"list": {"i": ["1", "2", "2", "1"]}}})
    assert out.shape == (1, 2, 2, 4)
    assert torch.allclose(out[0, 1, 0], torch.einsum("hwc,hwco->o", maps[0, 2:5, :3], weight), atol=1e-5)


def test_padding_is_told_axis_by_axis() -> None:
    ends = torch.tensor([[0, 0], [1, 2]])
    assert OPERATIONS["Pad"]([torch.ones(1, 1), ends], {}).tolist() == [[0, 1, 0, 0]]
    assert OPERATIONS["PadV2"]([torch.ones(1, 1), ends, torch.tensor(-7.0)], {}).tolist() == [[-7, 1, -7, -7]]


def test_an_unknown_operation_and_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [node("out", "Launch", "x")], {})
    with pytest.raises(CheckpointError, match=r"must be made of Add, .* got Launch"):
        read_tfjs(path)
    path = write(tmp_path, [node("out", "Add", "x", "one")], {"one": np.ones(3, np.float32)})
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="must hold 6 bytes of weights, got 7"):
        read_tfjs(path)


def test_a_box_reaches_as_far_as_its_distances_say() -> None:
    distances = torch.full((13 * 13, 4 * BINS), -50.0)
    distances[:, [1, BINS + 1, 2 * BINS + 2, 3 * BINS + 2]] = 50.0
    box = _boxes(distances, 32)[0]
    assert torch.allclose(box * 416, torch.tensor([0.0, 0.0, 80.0, 80.0]))  # 16 - 32 is outside the picture


def test_of_two_boxes_of_a_class_that_lie_over_each_other_the_surer_is_kept() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.52], [0.5, 0.5, 1.0, 1.0]])
    scores = torch.zeros(3, 80)
    scores[0, 3], scores[1, 3], scores[1, 4], scores[2, 3] = 0.9, 0.8, 0.3, 0.5
    found = _best(scores, boxes)
    assert found.labels.tolist() == [3, 3, 4] and found.scores.round(1).tolist() == pytest.approx([0.9, 0.5, 0.3])


@pytest.mark.weights
def test_nanodet_reads_a_frame_and_stays_as_it_is(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDRL_CACHE", str(installed))
    if not converted_folder("nanodet").exists():
        pytest.skip("nanodet is not installed: worldrl encoders install nanodet")
    detector = NanoDet()
    before = hash_tensors(detector.state_dict())
    (found,) = detector.train()(np.zeros((1, 64, 64, 3), np.uint8))
    assert len(found.scores) == len(found.boxes) <= 100 and not detector.training
    assert hash_tensors(detector.state_dict()) == before
