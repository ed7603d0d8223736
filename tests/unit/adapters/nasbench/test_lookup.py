import gzip
from typing import Any

import pytest

from llmatic_daemon.adapters.nasbench.cell_rewriter import CellRewriter
from llmatic_daemon.adapters.nasbench.lookup import CellLifter, TableTrainer
from llmatic_daemon.adapters.nasbench.table import Table, TableRow, data_sets_of
from llmatic_daemon.domain import (
    SAMPLE_PROMPT_ID,
    Candidate,
    Completion,
    Network,
    Operator,
    Outcome,
    Prompt,
    PromptKind,
    Rejection,
    Report,
    Rung,
    Training,
)
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.nasbench_cells import OPERATIONS, Cell, every_cell
from llmatic_daemon.search.candidates.cells import INITIAL_CELL, read_cell, write_cell_request
from tests.support import fakes
from tests.support.nasbench_table import FILE, TABLE, made_up, needs_the_table

HEAD = "arch,c10_params,c10_flops,c10_valid_200,c10_test_200,c10_valid_12,c10_test_12,c10_train_s_200"


def line(number: int, cell: Cell) -> str:
    return f"{cell},{number},{number + 1},90.5,91.5,60.0,61.0,100.0"


FIRST = line(1, next(every_cell()))


def proposal(
    text: str = "better", operator: Operator = Operator.MUTATION, temperature: float = 0.5, **changes: Any
):
    kind = PromptKind.CROSSOVER if operator is Operator.CROSSOVER else PromptKind.MUTATION
    prompt = Prompt(
        id=SAMPLE_PROMPT_ID if text == SAMPLE_PROMPT_ID else "asked", text=text, kind=kind, version=1
    )
    facts = {"prompt": prompt, "operator": operator, "sampling_temperature": temperature}
    return fakes.proposal(**facts, **changes)


@pytest.mark.parametrize("packed", [False, True])
def test_table_is_read_packed_or_not(tmp_path, packed):
    text = "\n".join([HEAD, *(line(n, cell) for n, cell in enumerate(every_cell()))])
    file = tmp_path / "cells.csv"
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())

    table = Table.read(file, "cifar10")

    assert len(table) == 15_625
    assert table[str(next(every_cell()))].valid_200 == 90.5


@pytest.mark.parametrize(
    ("lines", "data_set", "why"),
    [
        ([HEAD], "cifar100", "must have the columns of cifar100, lacks c100_flops"),
        ([HEAD], "cifar10", "must have all 15625 cells, has 0"),
        ([HEAD, "|conv~0|,1,2,3,4,5,6,7"], "cifar10", "line 2: a cell must look like"),
        (
            [HEAD, line(1, next(every_cell())).replace("90.5", "")],
            "cifar10",
            "line 2: c10_valid_200 must be a number, got ''",
        ),
        ([HEAD, str(next(every_cell()))], "cifar10", "line 2: c10_params must be a whole number, got None"),
        (
            [HEAD, FIRST.replace("90.5", "100.5")],
            "cifar10",
            "line 2: valid_200 must be 0 to 100 %, got 100.5",
        ),
        ([HEAD, FIRST.replace("61.0", "-1")], "cifar10", "line 2: test_12 must be 0 to 100 %, got -1.0"),
        ([HEAD, FIRST.replace("91.5", "nan")], "cifar10", "line 2: test_200 must be 0 to 100 %, got nan"),
        ([HEAD, FIRST.replace("100.0", "inf")], "cifar10", "line 2: train_s_200 must be seconds, got inf"),
        ([HEAD, line(-1, next(every_cell()))], "cifar10", "line 2: flops must be above 0, got 0"),
        ([HEAD, FIRST, FIRST], "cifar10", r"line 3: \|none~0\|.* must occur once, found it again"),
        ([""], "mnist", "must be one of cifar10, cifar100, imagenet16-120, got 'mnist'"),
    ],
)
def test_broken_table_is_one_clear_line(tmp_path, lines, data_set, why):
    file = tmp_path / "cells.csv"
    file.write_text("\n".join(lines))

    with pytest.raises(ConfigurationError, match=why):
        Table.read(file, data_set)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_file_is_one_clear_line(tmp_path, damage):
    packed = bytearray(gzip.compress("\n".join([HEAD, FIRST]).encode()))
    file = tmp_path / "cells.csv.gz"
    if damage == "cut":
        file.write_bytes(packed[:-10])
    else:
        packed[15] ^= 0xFF
        file.write_bytes(packed)

    with pytest.raises(ConfigurationError, match=r"cells\.csv\.gz' must be a table of cells: "):
        Table.read(file, "cifar10")


def test_third_data_set_is_taken_where_its_columns_are_there(tmp_path):
    file = tmp_path / "cells.csv"
    head = f"{HEAD},{HEAD.removeprefix('arch,').replace('c10', 'in16')}"
    rows = [f"{line(n, cell)},7,8,46.5,46.3,30.0,31.0,9.5" for n, cell in enumerate(every_cell())]
    file.write_text("\n".join([head, *rows]))

    assert data_sets_of(file) == ("cifar10", "imagenet16-120")
    row = Table.read(file, "imagenet16-120")[INITIAL_CELL]

    assert row == TableRow(
        num_parameters=7, flops=8, valid_200=46.5, test_200=46.3, valid_12=30.0, test_12=31.0, train_s=9.5
    )


async def test_third_data_set_has_its_own_images():
    task = await TableTrainer(Table("imagenet16-120", made_up())).task()

    assert (task.input_shape, task.num_classes) == ((3, 16, 16), 120)
    assert task.num_train + task.num_validation + task.num_test == 157_700


def test_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.csv' must be a table of cells"):
        Table.read(tmp_path / "no.csv", "cifar10")


async def test_cell_goes_from_prompt_to_figures():
    trainer, lifter = TableTrainer(TABLE), CellLifter(TABLE)
    task = await trainer.task()
    asked = write_cell_request(proposal(), [INITIAL_CELL], task)

    completion = await CellRewriter().complete(asked)
    candidate = read_cell(completion, proposal(), asked.parents, task)
    assert isinstance(candidate, Candidate)
    network = await lifter.lift(candidate)
    assert isinstance(network, Network)
    report = await trainer.train(network, Training(seed=1), lambda _: None)

    assert isinstance(report, Report)
    assert report.objective == TABLE[candidate.source].valid_200 / 100
    assert network.measures.flops == TABLE[candidate.source].flops
    assert trainer.num_queries == 1


async def test_isomorphic_cells_are_one_network():
    lifter, cells = CellLifter(TABLE), list(every_cell())
    names: dict[str, set[str]] = {}
    for cell in cells[:200]:
        made = Candidate(source=str(cell), class_name="cell", seed=1, task=fakes.TASK)
        network = await lifter.lift(made)
        assert isinstance(network, Network)
        names.setdefault(cell.canonical, set()).add(network.digest)

    assert all(len(digests) == 1 for digests in names.values())
    assert len({digest for digests in names.values() for digest in digests}) == len(names)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0])
async def test_rewriter_changes_what_the_cell_computes(temperature):
    task = await TableTrainer(TABLE).task()
    asked = write_cell_request(proposal(temperature=temperature), [INITIAL_CELL], task)

    child = Cell.parse((await CellRewriter().complete(asked)).text.strip())

    assert child.canonical != Cell.parse(INITIAL_CELL).canonical
    assert (await CellRewriter().complete(asked)).text.strip() == str(child)


async def test_rewriter_puts_in_what_the_prompt_names():
    task = await TableTrainer(TABLE).task()
    asked = write_cell_request(proposal("use avg_pool_3x3", temperature=0.01), [INITIAL_CELL], task)

    child = Cell.parse((await CellRewriter().complete(asked)).text.strip())

    assert child.operations.count("avg_pool_3x3") == 1


async def test_crossover_takes_each_operation_from_a_parent():
    task = await TableTrainer(TABLE).task()
    parents = [str(Cell((name,) * 6)) for name in ("nor_conv_3x3", "nor_conv_1x1")]
    made = proposal(operator=Operator.CROSSOVER)

    child = Cell.parse((await CellRewriter().complete(write_cell_request(made, parents, task))).text.strip())

    assert set(child.operations) == {"nor_conv_3x3", "nor_conv_1x1"}


def test_first_cell_that_no_parent_is_is_read():
    other = str(next(every_cell()))
    found = read_cell(
        Completion(text=f"As {INITIAL_CELL}, but:\n{other}", writer="", model=""),
        proposal(),
        (INITIAL_CELL,),
        fakes.TASK,
    )

    assert isinstance(found, Candidate)
    assert found.source == other


def test_answer_without_a_cell_is_rejected():
    found = read_cell(Completion(text="class Net", writer="", model=""), proposal(), (), fakes.TASK)

    assert isinstance(found, Rejection)
    assert found.cause is Outcome.NOT_CODE


@needs_the_table
@pytest.mark.parametrize(("data_set", "best"), [("cifar10", 94.37), ("cifar100", 73.51)])
def test_real_table_has_the_best_cell_that_is_known(data_set, best):
    table = Table.read(FILE, data_set)

    chosen = max(table.values(), key=lambda row: row.valid_200)

    assert chosen.test_200 == pytest.approx(best, abs=0.005)


async def test_prompt_that_asks_for_a_cell_afresh_gets_any_of_all():
    task = await TableTrainer(TABLE).task()
    rewriter = CellRewriter()
    drawn = set()
    for seed in range(300):
        asked = write_cell_request(proposal(SAMPLE_PROMPT_ID, seed=seed), [INITIAL_CELL], task)
        drawn.add((await rewriter.complete(asked)).text.strip())

    assert len(drawn) > 290
    used = [operation for text in drawn for operation in Cell.parse(text).operations]
    assert all(0.17 < used.count(each) / len(used) < 0.23 for each in OPERATIONS)


@pytest.mark.parametrize("should_continue", [True, False])
async def test_first_look_at_a_cell_is_its_training_of_12_epochs(should_continue):
    trainer, lifter = TableTrainer(TABLE), CellLifter(TABLE)
    made = Candidate(source=INITIAL_CELL, class_name="cell", seed=1, task=fakes.TASK)
    network = await lifter.lift(made)
    assert isinstance(network, Network)
    asked = []

    def answer(accuracy):
        asked.append(accuracy)
        return should_continue

    result = await trainer.train(network, Training(seed=1, rung=Rung(0.5, answer)), lambda _: None)

    row = TABLE[INITIAL_CELL]
    assert asked == [row.valid_12 / 100]
    assert result.rung_accuracy == asked[0]
    assert (trainer.num_rungs, trainer.num_queries) == (1, int(should_continue))
    assert result.cost == pytest.approx(1.06 if should_continue else 0.06)
    assert result.train_s == pytest.approx(row.train_s * result.cost)


async def test_writer_of_cells_is_told_the_accuracies_of_its_history():
    task = await TableTrainer(TABLE).task()
    cells = [str(cell) for cell in list(every_cell())[:2]]

    request = write_cell_request(proposal(results=(0.9, 0.8)), cells, task)

    assert f"{cells[0]}  # accuracy 0.9000\n{cells[1]}  # accuracy 0.8000\n" in request.continuation
    assert request.parents == tuple(cells)
