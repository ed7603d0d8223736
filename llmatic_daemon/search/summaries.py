"""Summaries: one log line for each entry of a search's log."""

from llmatic_daemon.domain import Arm, Audit, Edition, Placement, TrainerDeath
from llmatic_daemon.domain.ports import Entry


def describe(entry: Entry) -> str:
    """Summarize a candidate, a prompt set, an audit or the death of a trainer in one line."""
    match entry:
        case Placement():
            return _placement(entry)
        case Edition():
            return _edition(entry)
        case Audit():
            return _audit(entry)
        case TrainerDeath():
            return _death(entry)


def _placement(placement: Placement) -> str:
    parents = ", ".join(map(str, placement.parents)) or "the initial network"
    at = "" if placement.temperature is None else f", T {placement.temperature:.2f}"
    prompt = f"{placement.prompt} v{placement.prompt_version}"
    fallback = ", written by rule" if placement.arm is not Arm.WRITER else ""
    who = (
        f"candidate {placement.job.number} ({placement.operator} of {parents}, prompt {prompt}{at}{fallback})"
    )
    times = placement.durations
    spent = f"llm {times.llm_s:.1f} s, training {times.train_s:.1f} s"
    if placement.report is None or placement.measures is None:
        return f"{who}: {placement.outcome}: {placement.detail}; {spent}"
    size = f"{float(f'{placement.measures.flops / 1e6:.3g}'):g} MFLOPs"  # 0.0123, 41.2, 1230
    happened = f"{placement.status.upper()} in cell {placement.cell}"
    return f"{who}: {happened}, accuracy {placement.report.objective:.3f}, {size}; {spent}"


def _edition(edition: Edition) -> str:
    prompts = edition.prompts
    return (
        f"prompts: edition {edition.number}, {len(prompts.mutation)} for mutation and "
        f"{prompts.crossover.name}, after {edition.num_settled} settled candidates; "
        f"{len(edition.emptied)} cells emptied"
    )


def _audit(audit: Audit) -> str:
    failed = f" ({audit.outcome}: {audit.detail})" if audit.detail else ""
    if audit.holder == audit.job:
        after = f"holds cell {audit.cell} with {audit.mean.objective:.3f}"
    else:
        after = (
            f"mean {audit.mean.objective:.3f}, candidate {audit.holder} holds cell {audit.cell} "
            f"with {audit.holder_figures.objective:.3f}"
        )
    return (
        f"audit of candidate {audit.job}: {audit.verdict.upper()}, accuracy "
        f"{audit.first.objective:.3f} and {audit.second.objective:.3f}{failed}, "
        f"standard error {audit.standard_error:.3f}; {after}; training {audit.train_s:.1f} s"
    )


def _death(death: TrainerDeath) -> str:
    doubted = f"; {len(death.suspects)} networks that it measured are audited first" if death.suspects else ""
    return (
        f"trainer on {death.device} died with the network of candidate {death.job} "
        f"({death.network_digest[:12]}, seed {death.seed}): {death.detail}{doubted}"
    )
