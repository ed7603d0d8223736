"""What is said of an entry of the log, in one line for a person."""

from llmatic_daemon.records import Edition, Placement


def describe(entry: Placement | Edition) -> str:
    """Tell a candidate's whole life, or of a prompt set that was taken, in one line."""
    return _edition(entry) if isinstance(entry, Edition) else _placement(entry)


def _placement(placement: Placement) -> str:
    parents = ", ".join(map(str, placement.parents)) or "the initial network"
    at = "" if placement.temperature is None else f", T {placement.temperature:.2f}"
    prompt = f"{placement.prompt} v{placement.prompt_version}"
    stand_in = ", written by rule" if placement.stand_in else ""
    who = f"candidate {placement.job.number} ({placement.operator} of {parents}, prompt {prompt}{at}{stand_in})"
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
