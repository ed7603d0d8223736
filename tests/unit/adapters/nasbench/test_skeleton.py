"""A cell's network: its source against the true lifter, its counts against torch and the benchmark's table."""

import csv
import gzip
import io
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from llmatic_daemon.adapters.nasbench.skeleton import NetworkSize, size_of, source_of
from llmatic_daemon.adapters.nasbench.table import DATA_SETS, Table
from llmatic_daemon.adapters.processes.lifter import ProcessLifter
from llmatic_daemon.domain import Candidate, Network, Task
from llmatic_daemon.domain.nasbench_cells import NUM_CELLS, OPERATIONS, Cell, every_cell
from llmatic_daemon.search.candidates.source import read_text
from tests.support.nasbench_table import FILE, needs_the_table
from tests.support.samples import sampled

NONE, SKIP, CONV1, CONV3, POOL = OPERATIONS
#: Every how many cells torch counts; CELL_STEP=1 takes all of them on all data sets, half an hour of CPU.
STEP = int(os.environ.get("CELL_STEP", "50"))
#: Nothing at all; no convolution; all of them; some that nothing reads, or that read nothing.
CELLS = (
    Cell((NONE,) * 6),
    Cell((SKIP, POOL, NONE, SKIP, POOL, SKIP)),
    Cell((CONV3,) * 6),
    Cell((CONV3, NONE, NONE, SKIP, NONE, NONE)),
    Cell((NONE, NONE, CONV3, CONV1, NONE, SKIP)),
    Cell((CONV3, CONV1, SKIP, SKIP, POOL, CONV1)),
)
#: Cells and data sets; a few: without a convolution, with all operations, with other images and classes.
LIFTED = {
    "a few": [(CELLS[1], "cifar10"), (CELLS[5], "cifar10"), (CELLS[5], "imagenet16-120")],
    "all": [(cell, data_set) for data_set in ("cifar10", "imagenet16-120") for cell in CELLS],
}
#: One cell for each number of 1 x 1 and of 3 x 3 convolutions: all that sizes can depend on.
CLASSES = [
    Cell((*[CONV1] * few, *[CONV3] * many, *[SKIP] * (6 - few - many)))
    for few in range(7)
    for many in range(7 - few)
]


async def lifted(cells: Sequence[tuple[Cell, str]]) -> list[NetworkSize]:
    """Lift cells on data sets as if an LLM had written their networks, by one lifter."""
    async with ProcessLifter(timeout_s=60.0) as lifter:
        return [await lifted_by(lifter, cell, data_set) for cell, data_set in cells]


async def lifted_by(lifter: ProcessLifter, cell: Cell, data_set: str) -> NetworkSize:
    """Lift one cell; its classifier's bias is no multiply-add here."""
    _, num_classes, side = DATA_SETS[data_set]
    task = Task(
        name="cells",
        input_shape=(3, side, side),
        num_classes=num_classes,
        num_train=0,
        num_validation=0,
        num_test=0,
    )
    candidate = read_text(source_of(cell, data_set), (), seed=1, task=task)
    assert isinstance(candidate, Candidate), candidate
    network = await lifter.lift(candidate)
    assert isinstance(network, Network), network
    counted, flops = network.measures, network.measures.flops + num_classes
    return NetworkSize(num_parameters=counted.num_parameters, flops=flops)


def counted(module: nn.Module, channels: int, side: int) -> tuple[int, int]:
    """Count by torch what a module holds, and by its hooks what it multiplies."""
    flops = 0

    def count(layer: Any, _: object, output: torch.Tensor) -> None:
        nonlocal flops
        flops += output.numel() * layer.weight[0].numel()
        flops += output.numel() if layer.bias is not None else 0

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    module.eval()(torch.empty(1, channels, side, side, device="meta"))
    return sum(each.numel() for each in module.parameters()), flops


def built(cell: Cell, data_set: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "written"}
    exec(source_of(cell, data_set), names)
    return names


def whole(cell: Cell, data_set: str) -> NetworkSize:
    side = DATA_SETS[data_set][2]
    with torch.device("meta"), torch.no_grad():
        return NetworkSize(**_named(counted(built(cell, data_set)["Network"](), 3, side)))


def in_parts(cell: Cell, data_set: str, rest: NetworkSize) -> NetworkSize:
    """Count one cell of each stage five times, beside what is the same for all cells."""
    side, names = DATA_SETS[data_set][2], built(cell, data_set)
    with torch.device("meta"), torch.no_grad():
        stages = [
            counted(names["Cell"](channels), channels, side >> number)
            for number, channels in enumerate((16, 32, 64))
        ]
    parameters, flops = (5 * sum(each) for each in zip(*stages, strict=True))
    return NetworkSize(num_parameters=rest.num_parameters + parameters, flops=rest.flops + flops)


def _named(numbers: tuple[int, int]) -> dict[str, int]:
    return {"num_parameters": numbers[0], "flops": numbers[1]}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(FILE.read_bytes()).decode())))


@pytest.mark.parametrize("which", sampled(LIFTED, ["a few"]))
async def test_cells_network_is_lifted_with_the_sizes_that_are_counted(which):
    assert await lifted(LIFTED[which]) == [size_of(*each) for each in LIFTED[which]]


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_sizes_are_those_that_torch_counts(data_set):
    rest = whole(CELLS[0], data_set)

    for cell in CELLS:
        assert size_of(cell, data_set) == whole(cell, data_set)
        assert size_of(cell, data_set) == in_parts(cell, data_set, rest)


def test_source_is_one_network_with_the_cells_sums():
    text = source_of(Cell((CONV3, NONE, SKIP, POOL, CONV1, NONE)), "cifar100")

    assert "node2 = 0.0 * node0 + node1\n" in text
    assert "node3 = self.edge03(node0) + self.edge13(node1) + 0.0 * node2\n" in text
    assert "nn.Linear(64, 100)" in text


@needs_the_table
@pytest.mark.parametrize("data_set", ["cifar10", "cifar100"])
def test_sizes_are_the_tables_for_every_cell(data_set):
    table = Table.read(FILE, data_set)

    agree = [
        size_of(cell, data_set)
        == NetworkSize(num_parameters=table[str(cell)].num_parameters, flops=table[str(cell)].flops)
        for cell in every_cell()
    ]

    assert sum(agree) == NUM_CELLS


@needs_the_table
def test_stored_parameters_that_differ_are_those_of_an_isomorphic_cell(rows):
    """150 cells are stored with one convolution less or more than they have.

    The benchmark's rule of isomorphism gives one name to a convolution that two edges share through a
    skip, and to two convolutions of one kind on the same value: what is stored is the other's number.
    """
    isomorphic = defaultdict(list)
    for row in rows:
        isomorphic[Cell.parse(row["arch"]).canonical].append(row)

    differ = [row for row in rows if row["c10_params"] != row["c10_params_nats"]]

    changes, num_same_results = Counter[int](), 0
    for row in differ:
        twins = [
            each
            for each in isomorphic[Cell.parse(row["arch"]).canonical]
            if each["c10_params"] == row["c10_params_nats"]
        ]
        assert twins
        change = int(row["c10_params_nats"]) - int(row["c10_params"])
        assert change == int(row["c100_params_nats"]) - int(row["c100_params"])
        changes[change] += 1
        num_same_results += row["c10_valid_200_s0"] in [each["c10_valid_200_s0"] for each in twins]
    # A convolution of fifteen cells, its norms included: 28,000 or 243,040 parameters.
    assert changes == {-28_000: 60, -243_040: 62, 28_000: 13, 243_040: 15}
    assert num_same_results == 90


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("data_set", DATA_SETS)
def test_sizes_of_each_cell_are_those_that_torch_counts(data_set):
    rest = whole(CELLS[0], data_set)

    for cell in list(every_cell())[::STEP]:
        assert size_of(cell, data_set) == in_parts(cell, data_set, rest), str(cell)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("data_set", ["cifar10"] if STEP > 1 else DATA_SETS)
async def test_every_number_of_convolutions_is_lifted_with_its_sizes(data_set):
    assert len(CLASSES) == len({size_of(cell, data_set) for cell in every_cell()}) == 28

    assert await lifted([(cell, data_set) for cell in CLASSES]) == [
        size_of(cell, data_set) for cell in CLASSES
    ]
