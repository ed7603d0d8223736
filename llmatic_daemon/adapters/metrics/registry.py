"""The registry that Prometheus reads, made from the declared metrics."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import prometheus_client as prometheus
from prometheus_client.registry import Collector

from llmatic_daemon.adapters.metrics.catalog import TABLE, Families, Metric


class Instruments(Families):
    """All declared metrics, each a metric of the Prometheus client.

    Every known combination of label values is exported as 0 from the start. The other values are
    added by `learn`.
    """

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nothing reads
        self._registry = prometheus.CollectorRegistry()
        self._learnt: dict[str, set[str]] = {}
        super().__init__(**{metric.attribute: self._make(metric) for metric in TABLE})
        for collector in (prometheus.ProcessCollector, prometheus.GCCollector):
            collector(registry=self._registry)
        self._registry.register(_FormerNames(self))
        for metric in TABLE:
            if metric.labels and all(metric.labels.values()):
                self._start(metric, {})

    def _make(self, metric: Metric) -> Any:
        make = getattr(prometheus, metric.kind.capitalize())
        labels = () if metric.kind == "info" else tuple(metric.labels)
        more = {"buckets": metric.buckets} if metric.kind == "histogram" else {}
        name = metric.name.removesuffix("_info")
        return make(name, metric.meaning, labels, registry=self._registry, **more)

    def learn(self, label: str, values: Iterable[str]) -> None:
        """Export the metrics with these values of a label, as 0."""
        known = self._learnt.setdefault(label, set())
        new = tuple(value for value in dict.fromkeys(values) if value not in known)
        known.update(new)
        for metric in _labelled(label):
            self._start(metric, {label: new})

    def forget(self, label: str, values: Collection[str]) -> None:
        """Stop exporting the metrics with these values of a label."""
        known = self._learnt.get(label, set()) & set(values)
        for metric in _labelled(label):
            for each in _combinations(metric, {label: tuple(known)}):
                getattr(self, metric.attribute).remove(*each)
        self._learnt.get(label, set()).difference_update(known)

    def _start(self, metric: Metric, learnt: Mapping[str, Collection[str]]) -> None:
        for values in _combinations(metric, learnt):
            getattr(self, metric.attribute).labels(*values)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self._registry)


def _labelled(label: str) -> Iterator[Metric]:
    return (metric for metric in TABLE if metric.kind != "info" and label in metric.labels)


def _combinations(metric: Metric, learnt: Mapping[str, Collection[str]]) -> Iterable[tuple[str, ...]]:
    return product(*(values or learnt[name] for name, values in metric.labels.items()))


class _FormerNames(Collector):
    """Exports each renamed counter under its deprecated name too."""

    def __init__(self, families: Families) -> None:
        self._renamed = [(metric, getattr(families, metric.attribute)) for metric in TABLE if metric.former]

    def collect(self) -> Iterator[Any]:
        """Return the renamed counters as they are now."""
        for metric, made in self._renamed:
            for family in made.collect():
                family.name = metric.former.removesuffix("_total")
                family.documentation = f"Deprecated, will be removed: use {metric.name}."
                family.samples = [
                    sample._replace(
                        name=metric.former,
                        labels={
                            name: metric.former_values.get(value, value)
                            for name, value in sample.labels.items()
                        },
                    )
                    for sample in family.samples
                ]
                yield family
