"""A trainer that believes: it runs a network's source in its own interpreter and takes its word for the score.

What every harness without two processes does; here to show what the corpus' cheats make of it. Reads
a JSON list of [name, source] from stdin, writes one JSON object {name: [accuracy, loss] or why not}.
"""

import json
import os
import resource
import sys

import torch
import torch.nn.functional as F

NUM_CLASSES = 10
SHAPE = (3, 8, 8)
_SECONDS = 20


def data(seed: int, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Make noise, with labels that repeat in order: nothing can be learnt of it but by cheating."""
    images = torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return images, torch.arange(count) % NUM_CLASSES


def score(source: str) -> tuple[float, float]:
    """Train and measure; returns what it believes to be accuracy and loss on the test images."""
    torch.manual_seed(1)
    scope: dict[str, object] = {"__name__": "candidate"}
    exec(compile(source, "<candidate>", "exec"), scope)
    network = scope["Net"]()  # type: ignore[operator]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = data(0)
    for _ in range(5):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        if loss.requires_grad:
            loss.backward()
            optimiser.step()
    network.eval()
    images, labels = data(1)
    output = network(images)
    accuracy = (output.argmax(1) == labels).float().mean()
    return float(accuracy), float(F.cross_entropy(output, labels))


def _answer(source: str, pipe: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    try:
        said = json.dumps(score(source))
    except BaseException as error:
        said = json.dumps(f"{type(error).__name__}: {error}"[:200])
    os.write(pipe, said.encode())
    os._exit(0)


def _forked(source: str) -> object:
    """Each has an interpreter of its own, so that the next one meets an honest torch."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(source, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else "it ended without a word"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({name: _forked(source) for name, source in json.load(sys.stdin)}))
