"""Requests to an LLM, for models that continue a file and for chat models."""

from collections.abc import Mapping, Sequence
from string import Formatter

from llmatic_daemon.domain import PromptKind, Proposal, Request, Task

SYSTEM = """\
You are an expert in neural network architectures, and write PyTorch. Answer with one fenced block of \
Python and nothing else. It holds every import and helper class that it needs, and one class that \
inherits from nn.Module, takes no arguments, and maps a float tensor of shape (batch, {shape}) to \
scores of shape (batch, {num_classes}). Its layers are made in __init__, and no shape depends on the data."""

#: Stop texts for a model that continues a file; TGI accepts at most four. After a crossover, a model may
#: continue the list of networks.
STOPS = {
    PromptKind.MUTATION: ('\n"""', "\n'''", "\nif __name__", "\nprint("),
    PromptKind.CROSSOVER: ('\n"""', "\n# Network", "\nif __name__", "\nprint("),
}


def write_request(proposal: Proposal, sources: Sequence[str], task: Task) -> Request:
    """Return the request of a proposal: the parents' sources and the prompt.

    A prompt with `{source}` is the whole request. Any other prompt is an instruction that follows the
    sources, as a docstring for a model that continues a file.

    Args:
        proposal: The proposal.
        sources: Sources of the parents, in their order, the one to change first.
        task: The task of the network.

    Source: Nasir 2024, section 3.2, for the docstring.
    """
    prompt, shape = proposal.prompt, " x ".join(map(str, task.input_shape))
    values = {"shape": shape, "num_classes": str(task.num_classes), "task": task.name}
    code = _numbered(sources, proposal.results)
    text = filled(prompt.text, {**values, "source": code})
    is_layout = "source" in placeholders(prompt.text)
    return Request(
        operator=proposal.operator,
        prompt=prompt,
        parents=tuple(sources),
        temperature=proposal.sampling_temperature,
        seed=proposal.seed,
        task=task,
        continuation=text if is_layout else f'{code}\n\n"""{text}"""\n',
        stops=STOPS[prompt.kind],
        system=filled(SYSTEM, {**values, "shape": shape.replace(" x ", ", ")}),
        question=text if is_layout else f"```python\n{code}```\n\n{text}",
    )


def _numbered(sources: Sequence[str], results: Sequence[float]) -> str:
    """Return one source unchanged, and several, or those with results, under numbered headings."""
    if len(sources) == 1 and not results:
        return sources[0]
    notes = [f", accuracy {result:.4f}" for result in results] or [""] * len(sources)
    return "\n\n".join(
        f"# Network {number}{note}\n{source}"
        for number, (source, note) in enumerate(zip(sources, notes, strict=True), 1)
    )


def placeholders(text: str) -> set[str]:
    """Return the names of a prompt's placeholders.

    Raises:
        ValueError: a brace is neither doubled nor part of one.
    """
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Replace a text's placeholders by values, and doubled braces by single ones."""
    parts = Formatter().parse(text)
    return "".join(
        literal + (values.get(name, "") if name is not None else "") for literal, name, _, _ in parts
    )
