"""Output of the commands for prompts."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from llmatic_daemon.adapters.storage.history_records import PromptCredit, PromptVersion
from llmatic_daemon.cli.views import diff, measures
from llmatic_daemon.commands.prompts_try import PromptTrial
from llmatic_daemon.domain import Candidate, Completion, Network, Rejection


def credits(found: Sequence[PromptCredit]) -> Table:
    """Return a table of prompt versions with their results."""
    table = Table(box=None, pad_edge=False)
    table.add_column("prompt", header_style="bold cyan", no_wrap=True)
    for name in ("version", "position", "selected", "entered", "success", "curiosity", "score"):
        table.add_column(name, justify="right", header_style="bold cyan")
    table.add_column("", style="dim")
    for each in found:
        table.add_row(
            each.prompt,
            str(each.version),
            "-" if each.slot is None else str(each.slot),
            str(each.num_used),
            str(each.num_added),
            f"{each.num_added / each.num_used:.0%}" if each.num_used else "-",
            "-" if each.curiosity is None else f"{each.curiosity:+.1f}",
            f"{each.score:.0f}",
            "" if each.in_use else "retired",
        )
    return table


def versions(found: Sequence[PromptVersion], earned: Sequence[PromptCredit]) -> Group:
    """Return the versions of one prompt: results, and each text compared with the previous one."""
    parts: list[RenderableType] = [credits(earned)]
    for before, version in zip((None, *found), found, strict=False):
        since = f"version {version.version}, {version.kind}, since {version.adopted_at}"
        parts += [Text(), Text(since, style="bold"), _changed(before, version)]
    return Group(*parts)


def _changed(before: PromptVersion | None, after: PromptVersion) -> Syntax:
    if before is None:
        return Syntax(after.text, "markdown", word_wrap=True)
    names = (f"version {before.version}", f"version {after.version}")
    return Syntax(diff(before.text, after.text, names), "diff", word_wrap=True)


def trial(tried: PromptTrial) -> Group:
    """Return the request, the changes and the result of a completion."""
    return Group(*_trial(tried))


def _trial(tried: PromptTrial) -> Iterator[RenderableType]:
    prompt = tried.request.prompt
    yield Text(f"prompt {prompt.id}: {prompt.text}", style="dim")
    if not isinstance(tried.completion, Completion):
        yield Text(f"not sent: {tried.completion}")
        return
    yield Text(written_by(tried.completion))
    if isinstance(tried.candidate, Candidate):
        yield Syntax(diff(tried.request.parents[0], tried.candidate.source), "diff")
    else:
        yield Syntax(tried.completion.text[:4000], "python")
    yield Text(_verdict(tried.candidate, tried.network))
    if isinstance(tried.network, Network):
        yield measures(tried.network.measures)


def written_by(completion: Completion) -> str:
    """Return the writer of a completion, with its duration and tokens."""
    if completion.fallback:
        return "no LLM answered: written by the fallback (rule-based writer)"
    where = f" at {completion.endpoint}" if completion.endpoint else ""
    model = f"{completion.model} {completion.version[:12]}".strip()
    return (
        f"written by {model}{where} in {completion.duration_s:.1f} s: "
        f"{completion.num_prompt_tokens} tokens in, {completion.num_tokens} out, ended by "
        f"{completion.finish_reason}"
    )


def _verdict(candidate: Candidate | Rejection | None, network: Network | Rejection | None) -> str:
    if isinstance(candidate, Rejection):
        return f"rejected: {candidate.cause}: {candidate.detail}"
    if isinstance(network, Rejection):
        return f"parsed, but rejected when lifted: {network.cause}: {network.detail}"
    return f"lifts, in {network.lift_s:.2f} s" if network else "not lifted"
