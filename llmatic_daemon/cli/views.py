"""Output of the commands: tables for people, and the same facts as JSON."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Column, Table
from rich.text import Text

from llmatic_daemon import domain
from llmatic_daemon.adapters.http.schemas import plain
from llmatic_daemon.adapters.storage.history_records import Ancestor, StoredElite, StoredStatus, lineage
from llmatic_daemon.domain.text import count, ratio
from llmatic_daemon.domain.trainer_deaths import signal_name
from llmatic_daemon.search.comparison import MIN_CANDIDATES, uplift

_BARS = "▁▂▃▄▅▆▇█"


def as_json(value: object) -> str:
    """Return a record, or a list of records, as indented JSON; renamed fields have their old name too."""
    return json.dumps(value, default=_plain, indent=2, ensure_ascii=False)


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return plain(type(value), value)
    return str(value)


def status(now: StoredStatus) -> Group:
    """Return the progress of a search."""
    columns = Column(style="bold cyan"), Column(overflow="fold")  # a truncated path is useless
    facts = Table(*columns, box=None, show_header=False, pad_edge=False)
    best = (
        "none yet" if now.best_objective is None else f"{now.best_objective:.4f} by candidate {now.best_job}"
    )
    for name, value in (
        ("daemon", str(now.holder) if now.holder else "not running"),
        *_paused(now),
        ("evaluations", f"{now.num_evaluations} of {now.num_settled} settled candidates"),
        ("network archive", f"{now.filled_network_cells} of {now.network_cells} cells"),
        ("prompt archive", f"{now.filled_prompt_cells} of {now.prompt_cells} cells"),
        ("best", best),
        ("running time", f"{now.elapsed_s:.0f} s, device workers busy for {now.train_s:.0f} s"),
        ("last settled", now.last_settled_at or "never"),
        ("outcomes", ", ".join(f"{name} {number}" for name, number in now.outcomes) or "none"),
        ("queued", str(now.num_queued)),
        ("database", _database(now)),
        ("last backup", _backup(now)),
        *_doubts(now),
        *_active_prompts(now),
        *_arms(now),
        *_sandbox(now),
    ):
        facts.add_row(name, value)
    return Group(facts, *_running(now))


def _database(now: StoredStatus) -> str:
    each = now.bytes_per_candidate
    of_each = "" if each is None else f", {count(each)}B per settled candidate"
    return f"{count(now.database_bytes)}B{of_each}"


def _backup(now: StoredStatus) -> str:
    if now.backup is None:
        return "never"
    at = datetime.fromtimestamp(now.backup.finished_at, UTC)
    return f"{at.isoformat(timespec='seconds')} in {now.backup.folder}"


def _paused(now: StoredStatus) -> Iterable[tuple[str, str]]:
    if now.paused_since is not None:
        yield "paused", f"since {now.paused_since}; continue with 'llmatic-daemon resume'"


def _active_prompts(now: StoredStatus) -> Iterable[tuple[str, str]]:
    if now.num_fallbacks:
        yield "fallbacks", f"{now.num_fallbacks}, written by rule during an LLM outage"
    if now.prompts is None:
        return
    edition = now.prompts
    yield "prompts", f"{edition.num_prompts}, edition {edition.edition} of {edition.adopted_at}"
    if edition.refused:
        yield "prompts rejected", edition.refused


def _arms(now: StoredStatus) -> Iterable[tuple[str, str]]:
    if now.comparison is None:
        return
    found = uplift(now.comparison)
    until = "" if found.until is None else f" until {found.until}"
    share = f"{found.control_ratio:.0%} of the jobs after candidate {found.since}{until}"
    yield "the writer's arm", _arm(found.writer)
    yield "control arm", f"{_arm(found.control)}; {share}"
    yield "uplift", f"entered {_points(found.entered)}; accuracy {_points(found.objective)}"


def _arm(figures: domain.ArmFigures) -> str:
    """Return such as: 43 of 480 entered (9.0 %), mean accuracy 0.7132 of 390 trained."""
    entered = f"{figures.num_entered} of {figures.num_settled} entered"
    if figures.entered_ratio is not None:
        entered += f" ({figures.entered_ratio:.1%})"
    if figures.mean_objective is None:
        return f"{entered}, none trained"
    return f"{entered}, mean accuracy {figures.mean_objective:.4f} of {figures.num_trained} trained"


def _points(difference: domain.Difference | None) -> str:
    """Return a difference of two shares in percentage points, with its interval."""
    if difference is None:
        return f"{domain.Finding.OPEN}, fewer than {MIN_CANDIDATES} in an arm"
    mean, low, high = (f"{100 * value:+.2f}" for value in (difference.mean, difference.low, difference.high))
    return f"{mean} points ({low} to {high}), {difference.finding}"


def status_facts(now: StoredStatus) -> dict[str, Any]:
    """Return the facts of `status` for programs; renamed ones under their old names too."""
    facts = plain(StoredStatus, now)
    del facts["comparison"]
    former = {
        "best": None if now.best_job is None else (now.best_job, now.best_objective),
        "num_filled": now.filled_network_cells,
        "num_cells": now.network_cells,
        "num_prompt_filled": now.filled_prompt_cells,
        "num_prompt_cells": now.prompt_cells,
    }
    return {**facts, "uplift": uplift(now.comparison) if now.comparison else None, **former}


def _sandbox(now: StoredStatus) -> Iterable[tuple[str, str]]:
    if now.holder and now.sandbox:
        yield "sandbox lacks", "; ".join(f"{layer}: {why}" for layer, why in now.sandbox.items())


def _doubts(now: StoredStatus) -> Iterable[tuple[str, str]]:
    if now.num_audits:
        yield "audits", f"{now.num_audits}, {now.num_unstable} of them unstable"
    if now.num_trainer_deaths:
        yield "trainers died", f"{now.num_trainer_deaths}, while they trained a network"
    for device, reason in now.devices_out_reasons.items():
        yield "out of service", f"{device}: {reason}"


def _running(now: StoredStatus) -> Iterable[RenderableType]:
    for job in now.running:
        age = "" if job.age_s is None else f" for {job.age_s:.0f} s"
        yield Text(f"slot {job.slot}: job {job.job}, attempt {job.attempt}{age}")


def elites(found: Sequence[StoredElite], limit: int | None = None) -> Table:
    """Return a table of elites."""
    table = Table(box=None, pad_edge=False, header_style="bold cyan")
    for name in ("candidate", "accuracy", "test", "FLOPs", "parameters", "width/depth", "cell"):
        table.add_column(name, justify="right")
    table.add_column("made by", no_wrap=True)
    is_audited = any(elite.verdict for elite in found[:limit])
    if is_audited:
        table.add_column("audit")
    for elite in found[:limit]:
        table.add_row(
            str(elite.job),
            f"{elite.objective:.4f}",
            f"{elite.test_accuracy:.4f}",
            count(elite.measures.flops),
            count(elite.measures.num_parameters),
            ratio(elite.measures),
            str(elite.cell),
            f"{elite.operator} ({elite.prompt})",
            *([_verdict(elite.verdict)] if is_audited else []),
        )
    return table


def _verdict(verdict: domain.Verdict | None) -> Text:
    style = "bold red" if verdict is domain.Verdict.UNSTABLE else "dim"
    return Text(verdict or "", style=style)


def measures(found: domain.Measures) -> Table:
    """Return the measures of a network."""
    columns = Column(style="bold cyan"), Column(justify="right")
    table = Table(*columns, box=None, show_header=False, pad_edge=False)
    table.add_row("FLOPs (multiply-adds)", f"{found.flops:,}")
    table.add_row("parameters", f"{found.num_parameters:,}")
    table.add_row("width / depth", f"{ratio(found)} = {found.width_to_depth:.3g}")
    return table


def candidate(
    placement: domain.Placement,
    audit: domain.Audit | None,
    deaths: Sequence[domain.TrainerDeath],
    ancestors: Sequence[Ancestor],
    source: str | None,
    parent: str | None,
) -> Group:
    """Return one candidate: result, lineage, curve, source and diff to its parent."""
    parts: list[RenderableType] = [Text(f"candidate {placement.job.number}", style="bold")]
    parts += _result(placement)
    if audit is not None:
        parts.append(_audited(audit))
    parts += map(_trainer_death, deaths)
    parts.append(Text(f"lineage: {lineage(ancestors)}"))
    if placement.report and placement.report.curve:
        parts += _curve(placement.report.curve)
    if source is not None:
        parts += [Text("\nsource", style="bold"), Syntax(source, "python", background_color="default")]
    if source is not None and parent is not None:
        whose = f"candidate {placement.parents[0]}" if placement.parents else "the initial network"
        parts += [
            Text(f"\ndiff to {whose}", style="bold"),
            Syntax(diff(parent, source), "diff", background_color="default"),
        ]
    return Group(*parts)


_ARM_NOTES = {
    domain.Arm.WRITER: "",
    domain.Arm.CONTROL: " (control arm)",
    domain.Arm.FALLBACK: " (fallback during an LLM outage)",
}


def _written_by(placement: domain.Placement) -> str:
    """Return the writer of a candidate; the rule-based writer counts no tokens."""
    if not placement.writer:
        return "nobody"
    where = f" at {placement.endpoint}" if placement.endpoint else ""
    model = f"{placement.model} {placement.model_version[:12]}".strip()
    spent = f"{model}{where} in {placement.durations.llm_s:.1f} s{_ARM_NOTES[placement.arm]}"
    if not placement.num_tokens:
        return spent
    tokens = f"{placement.num_prompt_tokens} tokens in, {placement.num_tokens} out"
    return f"{spent}: {tokens}, ended by {placement.finish_reason}"


def _result(placement: domain.Placement) -> list[RenderableType]:
    at = "" if placement.temperature is None else f", temperature {placement.temperature:.2f}"
    prompt = f"{placement.prompt} v{placement.prompt_version}"
    made = f"{placement.operator}, prompt {prompt}{at}, seed {placement.seed}"
    parts: list[RenderableType] = [Text(f"made by: {made}"), Text(f"written by: {_written_by(placement)}")]
    if placement.report is None:
        parts.append(Text(f"outcome: {placement.outcome}: {placement.detail}"))
    else:
        where = f"{placement.status} in cell {placement.cell}"
        report = placement.report
        parts.append(Text(f"accuracy: {report.objective:.4f} ({where}), test {report.test_accuracy:.4f}"))
    if placement.rung_accuracy is not None:
        spent = f"{placement.cost:.2f} of a full training"
        parts.append(Text(f"early-stopping rung: accuracy {placement.rung_accuracy:.4f}; {spent} in total"))
    if placement.measures is not None:
        parts.append(measures(placement.measures))
    return parts


def _trainer_death(death: domain.TrainerDeath) -> Text:
    doubted = ", ".join(map(str, death.suspects))
    audited = f"; audited first, for it had measured them: candidates {doubted}" if doubted else ""
    how = signal_name(death.signal)
    return Text(f"ended trainer on {death.device} ({how}) with seed {death.seed}: {death.detail}{audited}")


def _audited(audit: domain.Audit) -> Text:
    """Return both trainings of an audit, and its verdict."""
    failed = f" ({audit.outcome}: {audit.detail})" if audit.detail else ""
    apart = abs(audit.first.objective - audit.second.objective) / audit.standard_error
    return Text.assemble(
        "audit: ",
        _verdict(audit.verdict),
        f", accuracy {audit.first.objective:.4f} and {audit.second.objective:.4f} with seed "
        f"{audit.seed}{failed}, {apart:.1f} standard errors apart; mean "
        f"{audit.mean.objective:.4f}, test {audit.mean.test_accuracy:.4f}",
    )


def _curve(curve: Sequence[domain.Epoch]) -> list[RenderableType]:
    accuracies = [epoch.accuracy for epoch in curve]
    low, high = min(accuracies), max(accuracies)
    span = max(high - low, 1e-9)
    bars = "".join(_BARS[round((a - low) / span * (len(_BARS) - 1))] for a in accuracies)
    return [Text(f"learning curve: {bars}  {accuracies[0]:.3f} to {accuracies[-1]:.3f}")]


def diff(parent: str, source: str, names: tuple[str, str] = ("parent", "candidate")) -> str:
    """Return the unified diff of two texts."""
    lines = difflib.unified_diff(parent.splitlines(), source.splitlines(), *names, lineterm="")
    return "\n".join(lines)
