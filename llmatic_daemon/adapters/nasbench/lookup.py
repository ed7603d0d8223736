"""Lifter and trainer of the benchmark: they parse a cell, and read its results from the table."""

from collections.abc import Callable, Sequence

from llmatic_daemon import domain
from llmatic_daemon.adapters.nasbench.table import DATA_SETS, Table
from llmatic_daemon.domain.nasbench_cells import Cell, CellError
from llmatic_daemon.domain.ports import Lifter, Trainer

#: Channels of the last stage in the benchmark's networks.
WIDTH = 64
#: Sizes of the benchmark's splits: training, validation, test.
_SPLITS = {
    "cifar10": (25_000, 25_000, 10_000),
    "cifar100": (50_000, 5_000, 5_000),
    "imagenet16-120": (151_700, 3_000, 3_000),
}
#: Name of the only device.
DEVICE = "table"
NUM_EPOCHS = 200
#: Epochs of the benchmark's short trainings, the rung of early stopping. Their learning rate schedule
#: differs, so their cost is added to that of a full training.
NUM_RUNG_EPOCHS = 12
RUNG_COST = NUM_RUNG_EPOCHS / NUM_EPOCHS


class CellLifter(Lifter):
    """Lifter that parses a cell; the graph is its canonical name, so isomorphic cells are one network.

    The weights are the cell's own text, because the benchmark trained isomorphic cells separately. Depth is
    the cell's longest path and width the channels of the last stage, so the ratio depends on the path.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def lift(self, candidate: domain.Candidate) -> domain.Network | domain.Rejection:
        """Parse a cell."""
        try:
            cell = Cell.parse(candidate.source.strip())
        except CellError as error:
            return domain.Rejection(cause=domain.Outcome.LIFT_FAILED, detail=str(error))
        row = self._table[str(cell)]
        measures = domain.Measures(
            num_parameters=row.num_parameters, flops=row.flops, width=WIDTH, depth=cell.longest_path
        )
        return domain.Network(
            graph=cell.canonical.encode(), weights=str(cell).encode(), measures=measures, lift_s=0.0
        )


class TableTrainer(Trainer):
    """Trainer that returns a cell's results from the table, and counts full trainings and rungs."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.num_queries = 0
        self.num_rungs = 0

    async def task(self) -> domain.Task:
        """Return the task of the benchmark's data set."""
        name = self._table.data_set
        _, num_classes, side = DATA_SETS[name]
        num_train, num_validation, num_test = _SPLITS[name]
        return domain.Task(
            name=f"nasbench201-{name}",
            input_shape=(3, side, side),
            num_classes=num_classes,
            num_train=num_train,
            num_validation=num_validation,
            num_test=num_test,
        )

    async def wait_until_idle(self) -> None:
        """Return at once, because a table is never busy."""

    async def resize(self, places: Sequence[str]) -> None:
        """Do nothing, because a table has no devices."""

    async def train(
        self, network: domain.Network, training: domain.Training, watch: Callable[[domain.Progress], None]
    ) -> domain.Report | domain.Failure | domain.StoppedEarly:
        """Return the means over the training seeds after 200 epochs.

        The reported time is the benchmark's training time, but the call returns at once. The rung of early
        stopping is always the benchmark's training of 12 epochs, independent of `fidelity.rung_ratio`.
        """
        row = self._table[network.weights.decode()]
        watch(domain.Progress(device=DEVICE, epoch=0, num_epochs=NUM_EPOCHS, accuracy=None))
        rung_accuracy, rung_cost = None, 0.0
        if training.rung is not None:
            self.num_rungs += 1
            rung_accuracy, rung_cost = row.valid_12 / 100, RUNG_COST
            if not training.rung.should_continue(rung_accuracy):
                spent_s = row.train_s * RUNG_COST
                return domain.StoppedEarly(
                    rung_accuracy=rung_accuracy, device=DEVICE, wait_s=0.0, train_s=spent_s, cost=RUNG_COST
                )
        self.num_queries += 1
        return domain.Report(
            objective=row.valid_200 / 100,
            test_accuracy=row.test_200 / 100,
            test_loss=0.0,
            curve=(),
            device=DEVICE,
            wait_s=0.0,
            train_s=row.train_s * (1 + rung_cost),
            rung_accuracy=rung_accuracy,
            cost=1 + rung_cost,
        )
