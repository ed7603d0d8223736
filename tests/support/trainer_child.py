"""A trainer process without torch: the graph says what to do. Starts in a tenth of a second."""

import os
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from llmatic_daemon.domain import frames


def send(header: dict[str, Any], *blobs: bytes) -> None:
    sys.stdout.buffer.write(frames.encode(header, *blobs))
    sys.stdout.buffer.flush()


def start(configuration: dict[str, Any]) -> None:
    data = configuration["data"]
    if starts := data.get("count_starts"):
        with Path(starts).open("a") as file:
            file.write(f"{configuration['device']} {os.getpid()}\n")
    if data["name"] == "unknown":
        send({"error": {"kind": "configuration", "detail": "unknown data set 'unknown'"}})
        sys.exit(78)
    if configuration["device"] == "cuda:9":
        send({"error": {"kind": "configuration", "detail": "there is no cuda:9"}})
        sys.exit(78)
    if configuration["device"] == "cuda:7":
        time.sleep(1000)
    if data["name"] == "broken" or configuration["device"] == "cuda:8":
        sys.exit("no driver")
    if data["name"] == "silent":
        time.sleep(1000)
    ready = {"name": "made up", "input_shape": [3, 4, 4], "num_classes": 2}
    send({"ready": {**ready, "num_train": 8, "num_validation": 2, "num_test": 4}})


def train(asked: dict[str, Any], graph: bytes, weights: bytes) -> None:
    epoch = {"number": 0, "num_epochs": 1, "train_loss": None, "accuracy": None}
    send({"epoch": epoch})
    if graph == b"fail":
        send({"failure": {"cause": "nan", "detail": "the loss must be finite, got nan", "cost": 0.5}})
        return
    if graph == b"hang":
        time.sleep(1000)
    if graph.startswith(b"/"):  # a pipe: until somebody opens it
        Path(graph.decode()).read_bytes()
    if graph == b"die":
        print("a last word", file=sys.stderr, flush=True)
        os._exit(3)
    if graph.startswith(b"segv"):
        print("a last word", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    send({"epoch": {**epoch, "number": 1, "train_loss": 0.5, "accuracy": 0.25}})
    if asked["rung_ratio"]:
        send({"epoch": {**epoch, "number": 1, "accuracy": 0.125}, "at_rung": True})
        answer, _ = frames.read_file(sys.stdin.buffer)
        if not answer["should_continue"]:
            send({"stopped": {"rung_accuracy": 0.125, "cost": asked["rung_ratio"]}})
            return
    report = {"objective": 0.25, "test_accuracy": 0.5, "test_loss": 1.5}
    if graph.startswith(b"measured"):  # one accuracy for each graph
        report["objective"] = zlib.crc32(graph) % 1000 / 1000
    report["normalisation"] = [[0.5, 2.0]]
    report["rung_accuracy"] = 0.125 if asked["rung_ratio"] else None
    kept = [weights] if asked["keep_weights"] else []
    send({"report": {**report, "curve": [[1, 0.5, 0.25]], "train_s": 0.1}}, *kept)


def main() -> None:
    configuration, _ = frames.read_file(sys.stdin.buffer)
    start(configuration)
    while True:
        try:
            header, (graph, weights) = frames.read_file(sys.stdin.buffer)
        except EOFError:
            return
        train(header["train"], graph, weights)


if __name__ == "__main__":
    main()
