"""The offline rewriter: a writer without an LLM, which edits the parent's syntax tree."""

from dataclasses import replace
from random import Random
from time import monotonic

from llmatic_daemon.adapters.rewriter.context import EditContext, SizeLimits
from llmatic_daemon.adapters.rewriter.crossover import crossover
from llmatic_daemon.adapters.rewriter.intents import Intent, intent_of, rewrite, small_change
from llmatic_daemon.adapters.rewriter.literals import Unreadable
from llmatic_daemon.adapters.rewriter.parser import find_network, parse, read_network
from llmatic_daemon.adapters.rewriter.printer import print_network
from llmatic_daemon.adapters.rewriter.repair import repair
from llmatic_daemon.adapters.rewriter.shape_inference import measure
from llmatic_daemon.adapters.rewriter.steps import Activation, Chain, Conv, Dense, Flatten
from llmatic_daemon.adapters.rewriter.unparsed import edit_unparsed
from llmatic_daemon.domain import (
    CHANGE_PROMPT_ID,
    SAMPLE_PROMPT_ID,
    Completion,
    Operator,
    PromptKind,
    Request,
)
from llmatic_daemon.domain.ports import Writer

_MAX_TRIES = 12
#: Edits between the initial network and one that is drawn at random, at most.
_MAX_EDITS = 12


class OfflineRewriter(Writer):
    """Rewrites networks by rule, as the prompt asks. There is no LLM in it, and it learns nothing.

    It reads the parent's syntax tree as a chain of steps, edits the chain, makes it fit the task's
    shapes, and prints it. So the daemon runs without a network or a GPU server, and a search has a
    control arm: what an LLM is worth is what it finds beyond this. It can also stand in for an LLM
    that does not answer. One completion costs a few milliseconds of CPU in the caller's process.

    The same request gives the same text; the number and size of changes grow with the temperature. The
    prompt `SAMPLE_PROMPT_ID` gets a network that is many edits of any kind away.
    """

    async def complete(self, request: Request) -> Completion:
        """Answer one request with a whole file; never raises for what a parent's source is."""
        started = monotonic()
        text = _Rewrite(request).text()
        return Completion(text=text, writer="offline", model="rewriter", duration_s=monotonic() - started)


class _Rewrite:
    """One request on its way to a text."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rng = Random(request.seed)
        self._intent = (
            self._rng.choice(list(Intent))
            if request.prompt.id == CHANGE_PROMPT_ID
            else intent_of(request.prompt.id, request.prompt.text)
        )
        self._context = EditContext(
            shape=request.task.input_shape,
            num_classes=request.task.num_classes,
            limits=SizeLimits.for_shape(request.task.input_shape),
            strength=min(max(request.temperature, 0.0), 1.0),
            rng=self._rng,
        )

    def text(self) -> str:
        """Rewrite the first parent that is understood; else edit the first one as it stands."""
        readable = [network for network in map(self._read, self._request.parents) if network]
        if not readable:
            return self._unparsed()
        chain, class_name = readable[0]
        if self._request.prompt.id == SAMPLE_PROMPT_ID:
            changed = self._drawn(chain)
        elif self._is_crossover and len(readable) > 1:
            changed = self._crossed(chain, [donor for donor, _ in readable[1:]])
        else:
            changed = self._changed(chain)
        return print_network(changed, self._context.shape, class_name)

    @property
    def _is_crossover(self) -> bool:
        crosses = self._request.operator is Operator.CROSSOVER
        return crosses or self._request.prompt.kind is PromptKind.CROSSOVER

    def _read(self, source: str) -> tuple[Chain, str] | None:
        try:
            network = find_network(parse(source))
            chain = read_network(network, self._context.shape, self._context.num_classes)
        except (RecursionError, Unreadable):
            return None
        # Our own offspring fit as they are; another's may end without a dense layer.
        size = measure(chain, self._context.shape)
        fitted = repair(chain, replace(self._context, limits=self._context.limits.sparing(size)))
        return None if fitted is None else (fitted, network.name)

    def _changed(self, chain: Chain) -> Chain:
        """Do what the prompt asks for, else anything, so that the child is not its parent."""
        for attempt in range(_MAX_TRIES):
            intent = self._intent if attempt < _MAX_TRIES // 2 else Intent.IMPROVE
            changed = rewrite(chain, intent, self._context)
            if changed is not None and changed != chain:
                return changed
        return small_change(chain, self._context) or chain

    def _drawn(self, chain: Chain) -> Chain:
        """Walk away from a network by edits of any kind."""
        for _ in range(1 + self._rng.randrange(_MAX_EDITS)):
            chain = rewrite(chain, self._rng.choice(list(Intent)), self._context) or chain
        return chain

    def _crossed(self, chain: Chain, donors: list[Chain]) -> Chain:
        parents = [chain, *donors]
        for _ in range(_MAX_TRIES):
            child = crossover(chain, self._rng.choice(donors), self._context)
            if child is not None and child not in parents:
                return child
        return self._changed(chain)

    def _unparsed(self) -> str:
        """Edit what is not understood, or the initial network when there is nothing to edit."""
        shape, num_classes = self._context.shape, self._context.num_classes
        for source in self._request.parents:
            try:
                tree = parse(source)
                return edit_unparsed(tree, self._intent, shape, num_classes, self._rng)
            except (RecursionError, Unreadable):
                continue
        _, height, width = shape
        features = height * width
        conv = Conv(out=1, kernel=1, padding=0)
        chain: Chain = (conv, Activation(), Flatten(), Dense(out=features), Activation())
        return print_network(self._changed((*chain, Dense(out=num_classes))), shape)
