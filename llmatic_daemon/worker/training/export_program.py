"""Write a trained network as a program that needs no llmatic_daemon: a torch.export archive, or ONNX.

`python -m llmatic_daemon.worker.training.export_program` reads one frame {"kind": "pt2" | "onnx", "file",
"input_shape", "num_classes", "limits"} with the blobs graph and weights. It writes the file, and answers
{"done": true} or {"error": detail}. It validates the graph again and runs no code of a candidate.
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


def write(request: Mapping[str, Any], graph: bytes, weights: bytes) -> None:
    """Write one network's evaluation graph, for any batch size.

    Raises:
        InvalidNetwork: the graph or the weights break a rule.
        ImportError: the packages for ONNX are not installed.
    """
    shape = tuple(request["input_shape"])
    valid = validate(graph, weights, GraphLimits(**request["limits"]), shape, request["num_classes"])
    network = build(valid.graph, valid.weights, avoids_kernels=False).eval()
    example = (torch.zeros(2, *shape),)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, example, dynamic_shapes=({0: batch},))
    if request["kind"] == "onnx":
        torch.onnx.export(program, f=request["file"], verbose=False, external_data=False)
    else:
        torch.export.save(program, request["file"])


def main() -> None:
    """Answer one request."""
    incoming, outgoing = own_pipes()
    request, (graph, weights) = frames.read_file(incoming)
    try:
        write(request, graph, weights)
        answer: dict[str, Any] = {"done": True, "bytes": Path(request["file"]).stat().st_size}
    except (InvalidNetwork, ImportError, OSError) as error:
        answer = {"error": str(error)}
    outgoing.write(frames.encode(answer))
    outgoing.flush()
    sys.exit(0)


if __name__ == "__main__":
    main()
