"""Lifter and trainer of the benchmark: a cell is parsed, and looked up in the place of a training."""

from collections.abc import Callable, Sequence

from llmatic_daemon.adapters.nasbench.table import DATA_SETS, Table
from llmatic_daemon.domain import (
    Candidate,
    Failure,
    Measures,
    Network,
    Outcome,
    Progress,
    Rejection,
    Report,
    StoppedEarly,
    Task,
    Training,
)
from llmatic_daemon.domain.nasbench_cells import Cell, CellError
from llmatic_daemon.domain.ports import Lifter, Trainer

#: Channels of the last stage of the benchmark's networks.
WIDTH = 64
#: Sizes of the benchmark's splits: training, validation, test.
_SPLITS = {
    "cifar10": (25_000, 25_000, 10_000),
    "cifar100": (50_000, 5_000, 5_000),
    "imagenet16-120": (151_700, 3_000, 3_000),
}
PLACE = "table"
NUM_EPOCHS = 200
#: Of the benchmark's cheap trainings, with a schedule of their own: they come on top of a full one.
NUM_LOOK_EPOCHS = 12
RUNG_COST = NUM_LOOK_EPOCHS / NUM_EPOCHS


class CellLifter(Lifter):
    """Parses a cell; its graph is its canonical name, so that isomorphic cells are one network.

    Which of them it is takes the place of the weights: the benchmark trained each for itself.

    Depth is the cell's longest path, width the channels of the last stage: the ratio tells cells apart
    by their paths.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def lift(self, candidate: Candidate) -> Network | Rejection:
        """Parse a cell."""
        try:
            cell = Cell.parse(candidate.source.strip())
        except CellError as error:
            return Rejection(cause=Outcome.LIFT_FAILED, detail=str(error))
        row = self._table[str(cell)]
        measures = Measures(
            num_parameters=row.num_parameters, flops=row.flops, width=WIDTH, depth=cell.longest_path
        )
        return Network(
            graph=cell.canonical.encode(), weights=str(cell).encode(), measures=measures, lift_s=0.0
        )


class TableTrainer(Trainer):
    """Looks up what a cell has reached; counts its queries, full ones and cheap looks."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.num_queries = 0
        self.num_looks = 0

    async def task(self) -> Task:
        """Describe the data set of the benchmark."""
        name = self._table.data_set
        _, num_classes, side = DATA_SETS[name]
        num_train, num_validation, num_test = _SPLITS[name]
        return Task(
            name=f"nasbench201-{name}",
            input_shape=(3, side, side),
            num_classes=num_classes,
            num_train=num_train,
            num_validation=num_validation,
            num_test=num_test,
        )

    async def wait_until_idle(self) -> None:
        """Return at once: a table is never busy."""

    async def resize(self, places: Sequence[str]) -> None:
        """Do nothing: a table has no places."""

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure | StoppedEarly:
        """Report the means over the training seeds after 200 epochs; its time is the benchmark's.

        Nobody waits: a search of months takes seconds, and counts what it would have cost. A first
        look is at the benchmark's own training of 12 epochs, whatever ratio was asked for.
        """
        row = self._table[network.weights.decode()]
        watch(Progress(device=PLACE, epoch=0, num_epochs=NUM_EPOCHS, accuracy=None))
        rung_accuracy, look_cost = None, 0.0
        if training.rung is not None:
            self.num_looks += 1
            rung_accuracy, look_cost = row.valid_12 / 100, RUNG_COST
            if not training.rung.should_continue(rung_accuracy):
                spent_s = row.train_s * RUNG_COST
                return StoppedEarly(
                    rung_accuracy=rung_accuracy, device=PLACE, wait_s=0.0, train_s=spent_s, cost=RUNG_COST
                )
        self.num_queries += 1
        return Report(
            objective=row.valid_200 / 100,
            test_accuracy=row.test_200 / 100,
            test_loss=0.0,
            curve=(),
            device=PLACE,
            wait_s=0.0,
            train_s=row.train_s * (1 + look_cost),
            rung_accuracy=rung_accuracy,
            cost=1 + look_cost,
        )
