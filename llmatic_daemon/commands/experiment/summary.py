"""The stored summary of a finished search: improvements, windows, elites."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from llmatic_daemon.adapters.storage.experiment_store import Improvement, KeptElite, WindowFacts
from llmatic_daemon.commands.experiment.simulation import Simulation
from llmatic_daemon.domain import Placement


def costs(placements: Sequence[Placement]) -> list[float]:
    """Return the cumulative cost after each placement, in full trainings."""
    return list(accumulate(placement.cost for placement in placements))


def improvements(simulation: Simulation) -> Iterator[Improvement]:
    """Yield the candidates that were better than all before, on the selection split."""
    best, time_s, placements = -1.0, 0.0, simulation.placements
    for placement, cost in zip(placements, costs(placements), strict=True):
        time_s += placement.durations.train_s
        report, measures = placement.report, placement.measures
        if report is None or measures is None or report.objective <= best:
            continue
        best = report.objective
        yield Improvement(
            number=placement.number,
            cost=cost,
            time_s=time_s,
            objective=best,
            test_accuracy=report.test_accuracy,
            flops=measures.flops,
            source=simulation.sources[placement.source_digest or ""].strip(),
        )


def windows(simulation: Simulation, size: int) -> Iterator[WindowFacts]:
    """Yield the figures of each window of settled candidates; the last one may be shorter."""
    placements = simulation.placements
    spent = costs(placements)
    for first in range(0, len(placements), size):
        window = placements[first : first + size]
        trained = [p for p in window if p.report and p.measures]
        best = max(trained, key=lambda p: p.objective or 0.0, default=None)
        yield WindowFacts(
            number=first // size + 1,
            cost=spent[first + len(window) - 1],
            num_settled=len(window),
            num_trained=len(trained),
            objective=best.objective if best else None,
            test_accuracy=best.report.test_accuracy if best and best.report else None,
            flops=best.measures.flops if best and best.measures else None,
        )


def elites(simulation: Simulation) -> Iterator[KeptElite]:
    """Yield the elites of both archives at the end."""
    search = simulation.evolution
    for cell, network in search.networks.items():
        source = simulation.sources[network.elite.source_digest].strip()
        yield KeptElite("network", cell, network.objective, source)
    for cell, held in search.individuals.items():
        one = held.elite
        what = f"{one.prompt} v{one.prompt_version} at {one.temperature:.2f}"
        yield KeptElite("prompt", cell, one.curiosity, what)
