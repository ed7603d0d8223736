"""Try one prompt on the best network as the search would: request, parse, lift; nothing is stored."""

from dataclasses import dataclass
from pathlib import Path

from llmatic_daemon import domain
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap import build, build_writers
from llmatic_daemon.bootstrap.build_search import parse_task
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.errors import UserError
from llmatic_daemon.search.candidates.representation import representation_of

#: Parents of each kind of prompt; a crossover gets the best networks.
_NUM_PARENTS = {domain.PromptKind.MUTATION: 1, domain.PromptKind.CROSSOVER: 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptTrial:
    """One completion of a prompt with its results."""

    request: domain.Request
    completion: domain.Completion | domain.TooLong
    #: None if the request was too long.
    candidate: domain.Candidate | domain.Rejection | None
    #: None if there was no candidate.
    network: domain.Network | domain.Rejection | None


async def try_prompt(
    settings: Settings, state_dir: Path, prompt_id: str, *, temperature: float, seed: int
) -> PromptTrial:
    """Request one completion for the best elite, or for the initial network without one.

    If no LLM answers, the rule-based writer does.

    Args:
        settings: Of the search: writer, lifter and the current prompt folder.
        state_dir: State folder with the elites.
        prompt_id: Name of the prompt's file without its ending.
        temperature: In (0, 1].
        seed: Of the completion and of the network's initial weights.

    Raises:
        LLMaticError: there is no such prompt or search.
    """
    prompt = _prompt(settings, prompt_id)
    task, sources = _parents(state_dir, _NUM_PARENTS[prompt.kind])
    proposal = single_proposal(prompt, temperature, seed)
    language = representation_of(task)
    request = language.ask(proposal, sources, task)
    async with build_writers.writer(_without_retries(settings)) as writer:
        completion = await writer.complete(request)
    if isinstance(completion, domain.TooLong):
        return PromptTrial(request=request, completion=completion, candidate=None, network=None)
    candidate = language.read(completion, proposal, request.parents, task)
    network = None
    if isinstance(candidate, domain.Candidate):
        async with build.build_adapters(settings).lifter as lifter:
            network = await lifter.lift(candidate)
    return PromptTrial(request=request, completion=completion, candidate=candidate, network=network)


def _prompt(settings: Settings, prompt_id: str) -> domain.Prompt:
    prompts = {prompt.id: prompt for prompt in read_prompts(build.prompt_path(settings))}
    if prompt_id not in prompts:
        raise UserError(
            f"expected one of the prompts {', '.join(prompts)} in "
            f"{str(build.prompt_path(settings))!r}, got {prompt_id!r}"
        )
    return prompts[prompt_id]


def _parents(state_dir: Path, count: int) -> tuple[domain.Task, list[str]]:
    with History(state_dir) as history:
        task = parse_task(history.identity())
        best = history.elites()[:count]
        sources = [history.source(elite.source_digest) for elite in best]
    return task, sources or [representation_of(task).initial(task)]


def single_proposal(prompt: domain.Prompt, temperature: float, seed: int) -> domain.Proposal:
    """Return a proposal outside of any search; it credits no individual."""
    crosses = prompt.kind is domain.PromptKind.CROSSOVER
    return domain.Proposal(
        job=domain.Job(number=1, attempt=1),
        operator=domain.Operator.CROSSOVER if crosses else domain.Operator.MUTATION,
        prompt=prompt,
        temperature=None if crosses else temperature,
        sampling_temperature=temperature,
        seed=seed,
        parents=(),
        parent_digests=(),
        credited_cell=None,
        credited_job=None,
        num_settled=0,
    )


def _without_retries(settings: Settings) -> Settings:
    """Return settings without retries and without a recording."""
    changed = {"on_outage": "fallback", "record": "", "max_tries": 1, "breaker_failures": 1}
    return settings.model_copy(update={"writer": settings.writer.model_copy(update=changed)})
