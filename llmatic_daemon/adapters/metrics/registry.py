"""The registry that Prometheus reads, made from the table of metrics, and the hand that writes to it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from llmatic_daemon.adapters.metrics.catalog import TABLE, Metric

PREFIX = "llmatic_"


class Instruments:
    """All metrics of the table, by their names without prefix.

    Every label combination that is known is exported as 0 from the start; the values of the other
    labels are learnt. A name that is not in the table raises KeyError.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, that nobody asks for
        # Two, as the client takes `jobs` and `jobs_total` for one name.
        self._gauges, self._others = CollectorRegistry(), CollectorRegistry()
        self._made = {metric.name.removeprefix(PREFIX): self._make(metric) for metric in TABLE}
        self._learnt: dict[str, set[str]] = {}
        ProcessCollector(registry=self._others)
        GCCollector(registry=self._others)
        for metric in TABLE:
            if metric.labels and all(label.values for label in metric.labels):
                self._start(metric, {})

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram | Info:
        labels = metric.label_names
        if metric.kind == "counter":
            return Counter(metric.stem, metric.meaning, labels, registry=self._others)
        if metric.kind == "gauge":
            return Gauge(metric.name, metric.meaning, labels, registry=self._gauges)
        if metric.kind == "info":
            return Info(metric.stem, metric.meaning, registry=self._others)
        return Histogram(metric.name, metric.meaning, labels, buckets=metric.buckets, registry=self._others)

    def learn(self, label: str, values: Iterable[str]) -> None:
        """Export as 0 what has a label whose values were not known at the start."""
        known = self._learnt.setdefault(label, set())
        new = tuple(value for value in dict.fromkeys(values) if value not in known)
        known.update(new)
        for metric in TABLE:
            if new and metric.kind != "info" and label in metric.label_names:
                self._start(metric, {label: new})

    def forget(self, label: str, values: Collection[str]) -> None:
        """Export no more what has one of these values."""
        known = self._learnt.get(label, set()) & set(values)
        for metric in TABLE:
            if known and metric.kind != "info" and label in metric.label_names:
                for each in self._combinations(metric, {label: tuple(known)}):
                    self._made[metric.name.removeprefix(PREFIX)].remove(*each)
        self._learnt.get(label, set()).difference_update(known)

    def _start(self, metric: Metric, learnt: dict[str, Sequence[str]]) -> None:
        made = self._made[metric.name.removeprefix(PREFIX)]
        for values in self._combinations(metric, learnt):
            made.labels(*values)

    @staticmethod
    def _combinations(metric: Metric, learnt: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, ...]]:
        return product(*(label.values or learnt[label.name] for label in metric.labels))

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        made = self._made[name]
        (made.labels(*labels) if labels else made).inc(by)  # type: ignore[union-attr]

    def put(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        made = self._made[name]
        (made.labels(*labels) if labels else made).set(value)  # type: ignore[union-attr]

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add to a histogram."""
        made = self._made[name]
        (made.labels(*labels) if labels else made).observe(value)  # type: ignore[union-attr]

    def describe(self, name: str, **facts: str) -> None:
        """Set an info."""
        made = self._made[name]
        assert isinstance(made, Info)
        made.info(facts)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self._gauges) + generate_latest(self._others)
