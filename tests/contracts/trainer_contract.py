"""What every trainer promises: one suite, run over each of them and over the fakes.

A module that runs it defines the fixture `trainer`, and `a_network` for networks that it can train.
"""

import asyncio

from llmatic_daemon.domain import Network, Progress, Report, Rung, StoppedEarly, Task, Training
from llmatic_daemon.domain.ports import Trainer

TIMEOUT_S = 60.0


class Watched:
    """Collects the progress of a training, and is set when a device worker is held."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.holds = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.progress.append(progress)
        self.holds.set()


class Decision:
    """Decides at the rung, and remembers the accuracies that it was asked with."""

    def __init__(self, *, should_continue: bool) -> None:
        self._should_continue = should_continue
        self.accuracies: list[float] = []

    def __call__(self, accuracy: float) -> bool:
        self.accuracies.append(accuracy)
        return self._should_continue


class TrainerContract:
    #: Epochs of a training here; None: as many as the recipe says.
    epochs: int | None = None
    #: Devices to which `resize` can be called without a change.
    devices: tuple[str, ...] = ("cpu",)

    def a_network(self, number: int = 0) -> Network:
        """Build the n-th of several networks."""
        raise NotImplementedError

    def training(self, **changes: object) -> Training:
        return Training(**{"seed": 1, "epochs": self.epochs, **changes})

    async def test_task_is_the_same_each_time(self, trainer: Trainer):
        task = await trainer.task()

        assert isinstance(task, Task)
        assert task.num_classes > 1
        assert await trainer.task() == task

    async def test_network_is_trained_and_measured(self, trainer: Trainer):
        watched = Watched()

        report = await trainer.train(self.a_network(), self.training(), watched)

        assert isinstance(report, Report)
        assert 0 <= report.objective <= 1
        assert 0 <= report.test_accuracy <= 1
        assert report.wait_s >= 0
        assert report.train_s >= 0
        assert report.cost > 0
        assert report.rung_accuracy is None
        assert report.device == watched.progress[0].device

    async def test_progress_begins_when_a_device_worker_is_held(self, trainer: Trainer):
        watched = Watched()

        await trainer.train(self.a_network(), self.training(), watched)

        first, epochs = watched.progress[0], [each.epoch for each in watched.progress]
        assert (first.epoch, first.accuracy) == (0, None)
        assert first.device
        assert epochs == sorted(epochs)
        assert all(epoch <= first.num_epochs for epoch in epochs)

    async def test_training_stops_at_its_rung_if_it_should(self, trainer: Trainer):
        decision = Decision(should_continue=False)

        stopped = await trainer.train(
            self.a_network(), self.training(rung=Rung(0.25, decision)), lambda _: None
        )

        assert isinstance(stopped, StoppedEarly)
        assert decision.accuracies == [stopped.rung_accuracy]
        assert 0 <= stopped.rung_accuracy <= 1
        assert 0 < stopped.cost < 1
        assert stopped.device

    async def test_training_goes_on_after_its_rung_if_it_should(self, trainer: Trainer):
        decision = Decision(should_continue=True)

        report = await trainer.train(
            self.a_network(), self.training(rung=Rung(0.25, decision)), lambda _: None
        )

        assert isinstance(report, Report)
        assert decision.accuracies == [report.rung_accuracy]

    async def test_stopped_training_leaves_the_trainer_usable(self, trainer: Trainer):
        rung = Rung(0.25, Decision(should_continue=False))
        await trainer.train(self.a_network(), self.training(rung=rung), lambda _: None)

        assert isinstance(await trainer.train(self.a_network(), self.training(), lambda _: None), Report)

    async def test_many_trainings_at_once_are_all_finished(self, trainer: Trainer):
        async with asyncio.timeout(TIMEOUT_S):
            results = await asyncio.gather(
                *(trainer.train(self.a_network(n), self.training(seed=n), lambda _: None) for n in range(5))
            )

        assert [type(result) for result in results] == [Report] * 5

    async def test_training_of_low_priority_is_finished_too(self, trainer: Trainer):
        async with asyncio.timeout(TIMEOUT_S):
            first, second = await asyncio.gather(
                trainer.train(self.a_network(), self.training(low_priority=True), lambda _: None),
                trainer.train(self.a_network(1), self.training(), lambda _: None),
            )

        assert isinstance(first, Report)
        assert isinstance(second, Report)

    async def test_cancelled_training_leaves_the_trainer_usable(self, trainer: Trainer):
        watched = Watched()
        training = asyncio.create_task(trainer.train(self.a_network(), self.training(), watched))
        async with asyncio.timeout(TIMEOUT_S):
            await watched.holds.wait()
            training.cancel()
            await asyncio.wait([training])

            assert isinstance(await trainer.train(self.a_network(1), self.training(), lambda _: None), Report)

    async def test_idle_trainer_is_idle_and_not_overdue(self, trainer: Trainer):
        async with asyncio.timeout(TIMEOUT_S):
            await trainer.task()
            await trainer.wait_until_idle()

        assert trainer.overdue() == ()

    async def test_resize_to_the_same_devices_changes_nothing(self, trainer: Trainer):
        await trainer.task()

        await trainer.resize(self.devices)

        assert isinstance(await trainer.train(self.a_network(), self.training(), lambda _: None), Report)
