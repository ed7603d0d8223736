"""The honest side of the lifter's proof: what each network of networks/ must come to, and what it does.

`python -m tests.corpus.honest.proof [NAME ...]` prints a table: how many lift, how many train bit-identically, how
many have the right figures.

A network's header, comments at its top, says what is expected:
    # family: ...          for people
    # input: 1 x 16 x 16   left out: 3 x 32 x 32
    # multiply-adds: N     and width, depth and parameters: counted without the lifter (`count`)
    # by hand: why         these figures are not by `count`, which is wrong here
    # does not lift: why   a part of the answer that it gets
"""

import asyncio
import io
import linecache
import re
import sys
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain import Candidate, Network, Rejection, Task
from llmatic_daemon.search.candidates.source import read_text
from llmatic_daemon.worker.graph.serialization import build
from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from tests.corpus.honest.count import Accuracies

FOLDER = Path(__file__).parent / "networks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
SEED = 7
NUM_STEPS = 2
BATCH = 4
_FIGURES = ("multiply-adds", "width", "depth", "parameters")


@dataclass(frozen=True, kw_only=True)
class Honest:
    """A source as an LLM would write it, and what its header expects."""

    name: str
    text: str
    header: dict[str, str]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = map(int, self.header.get("input", "3 x 32 x 32").split(" x "))
        return channels, height, width

    @property
    def figures(self) -> Accuracies:
        numbers = {key.replace("-", "_"): int(self.header[key]) for key in _FIGURES}
        return Accuracies(**numbers)

    @property
    def candidate(self) -> Candidate:
        """Triage the text as an answer of an LLM."""
        task = Task(
            name="made up",
            input_shape=self.input_shape,
            num_classes=10,
            num_train=1,
            num_validation=1,
            num_test=1,
        )
        candidate = read_text(self.text, (), seed=SEED, task=task)
        assert isinstance(candidate, Candidate), candidate
        return candidate

    def make(self) -> nn.Module:
        """Build the network itself, from the whole text, with the lifter's seed."""
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some greet, some use what torch advises against
            return self._make()

    def _make(self) -> nn.Module:
        file_name = str(FOLDER / f"{self.name}.py")
        names: dict[str, Any] = {"__name__": self.name}
        sys.modules[self.name] = type(sys)(self.name)  # dataclasses look for it
        linecache.checkcache(file_name)
        exec(compile(self.text, file_name, "exec"), names)
        torch.manual_seed(SEED)  # what stands beside the class may have drawn
        network = names[self.candidate.class_name]().train()
        if any(nn.parameter.is_lazy(each) for each in network.parameters()):
            images = torch.randn(4, *self.input_shape)  # as the lifter draws them
            with torch.no_grad():
                network.eval()(images)
        return network.train()


def read(name: str) -> Honest:
    """Read a network and its header."""
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    header = {}
    for line in text.splitlines():
        if not (found := re.fullmatch(r"# ([a-z -]+): (.+)", line)):
            break
        header[found[1]] = found[2]
    return Honest(name=name, text=text, header=header)


def lift_all(candidates: Iterable[Candidate]) -> list[Network | Rejection]:
    """Lift as the daemon does: a few in one warm parent, as a start costs as much as ten lifts, many in two."""
    asked = list(candidates)

    async def lift() -> list[Network | Rejection]:
        async with ProcessLifter(num_parents=1 if len(asked) < 20 else 2, timeout_s=60) as lifter:
            return await asyncio.gather(*map(lifter.lift, asked))

    return asyncio.run(lift())


def rebuilt(network: Network, input_shape: tuple[int, ...]) -> nn.Module:
    """Check and build a lifted network as the trainer does."""
    valid = validate(network.graph, network.weights, GraphLimits(), input_shape, 10, network.order)
    assert valid.measures == network.measures
    return build(valid.graph, valid.weights)


def figures(network: Network) -> Accuracies:
    """Say what the lifter measured, in the words of the headers."""
    return Accuracies(
        multiply_adds=network.measures.flops,
        width=network.measures.width,
        depth=network.measures.depth,
        parameters=network.measures.num_parameters,
    )


def losses(network: nn.Module, honest: Honest) -> list[float]:
    """Train two steps and look at a third loss; with the same seeds, and in plain memory format."""
    network.train()
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad],
        lr=0.05,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        fused=True,
    )
    torch.manual_seed(SEED)
    seen = []
    for _ in range(NUM_STEPS + 1):
        images = torch.randn(BATCH, *honest.input_shape, generator=generator)
        labels = torch.randint(0, 10, (BATCH,), generator=generator)
        loss = nn.functional.cross_entropy(network(images), labels, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


def statistics(network: nn.Module) -> list[list[float]]:
    """List what is not trained, but for counts of batches, which a graph does not have."""
    frozen = [each for each in network.parameters() if not each.requires_grad]
    buffers = [each for each in network.buffers() if each.dtype is not torch.int64]
    return [each.float().flatten().tolist() for each in (*frozen, *buffers)]


# --- the table ------------------------------------------------------------------------------------


def _row(honest: Honest, network: Network | Rejection) -> tuple[str, str, str]:
    if isinstance(network, Rejection):
        return f"no: {network.detail}", "", ""
    mine = losses(rebuilt(network, honest.input_shape), honest)
    theirs = losses(honest.make(), honest)
    identical = "yes" if mine == theirs else f"no: {mine}, not {theirs}"
    expected = honest.figures
    right = "yes" if figures(network) == expected else f"no: {figures(network)}, not {expected}"
    return "yes", identical, right


def main(names: list[str]) -> None:
    """Print the table of these networks."""
    torch.set_num_threads(1)
    known = list(map(read, names))
    lifted = lift_all(honest.candidate for honest in known)
    rows = list(map(_row, known, lifted))
    for honest, row in zip(known, rows, strict=True):
        print(f"{honest.name:<24}", *row, sep=" | ")
    for number, question in enumerate(("lift", "train bit-identically", "have the right figures")):
        print(f"{sum(row[number] == 'yes' for row in rows)} of {len(rows)} {question}")


if __name__ == "__main__":
    main(sys.argv[1:] or NAMES)
