"""Write a trained network as a program that runs without us: a torch.export archive, or ONNX.

`python -m llmatic_daemon.worker.training.export_program` reads one frame {"kind": "pt2" | "onnx", "file", "input_shape",
"num_classes", "limits"} with the blobs graph and weights, writes the file, and answers {"done": true}
or {"error": detail}. Trusted code: the graph is validated again and nothing of a candidate is run.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llmatic_daemon.domain import frames
from llmatic_daemon.worker.graph.serialization import build
from llmatic_daemon.worker.graph.validation import GraphLimits, InvalidNetwork, validate
from llmatic_daemon.worker.pipes import own_pipes


def write(asked: Mapping[str, Any], graph: bytes, weights: bytes) -> None:
    """Write one network's evaluation graph, for any batch size.

    Raises:
        InvalidNetwork: the graph or the weights break a rule.
        ImportError: ONNX was asked for and its packages are not installed.
    """
    shape = tuple(asked["input_shape"])
    valid = validate(graph, weights, GraphLimits(**asked["limits"]), shape, asked["num_classes"])
    network = build(valid.graph, valid.weights).eval()
    example = (torch.zeros(2, *shape),)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, example, dynamic_shapes=({0: batch},))
    if asked["kind"] == "onnx":
        torch.onnx.export(program, f=asked["file"], verbose=False, external_data=False)
    else:
        torch.export.save(program, asked["file"])


def main() -> None:
    """Serve one request."""
    incoming, outgoing = own_pipes()
    asked, (graph, weights) = frames.read_file(incoming)
    try:
        write(asked, graph, weights)
        said: dict[str, Any] = {"done": True, "bytes": Path(asked["file"]).stat().st_size}
    except (InvalidNetwork, ImportError, OSError) as error:
        said = {"error": str(error)}
    outgoing.write(frames.encode(said))
    outgoing.flush()
    sys.exit(0)


if __name__ == "__main__":
    main()
