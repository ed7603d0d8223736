"""The rule-based writer, which edits the parent's syntax tree without an LLM."""

from dataclasses import replace
from random import Random
from time import monotonic

from llmatic_daemon import domain
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
from llmatic_daemon.domain.ports import Writer

_MAX_TRIES = 12
#: Maximum number of edits between the initial network and one that is drawn at random.
_MAX_EDITS = 12


class OfflineRewriter(Writer):
    """Rule-based writer that changes the parent network as the prompt asks. It does not learn.

    It parses the parent to a chain of steps, edits and repairs the chain, and prints it. It serves as the
    writer of searches without an LLM, as the control arm, and as the fallback while no LLM is available.
    One completion costs a few milliseconds of CPU time in the calling process.

    The same request gives the same text; the number and size of changes grow with the temperature. For the
    prompt `SAMPLE_PROMPT_ID` it applies up to 12 edits of any kind.
    """

    async def complete(self, request: domain.Request) -> domain.Completion:
        """Return a whole file for one request. No parent source makes it raise an error."""
        started = monotonic()
        text = _Rewrite(request).text()
        return domain.Completion(
            text=text, writer="offline", model="rewriter", duration_s=monotonic() - started
        )


class _Rewrite:
    """The rewrite for one request."""

    def __init__(self, request: domain.Request) -> None:
        self._request = request
        self._rng = Random(request.seed)
        self._intent = (
            self._rng.choice(list(Intent))
            if request.prompt.id == domain.CHANGE_PROMPT_ID
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
        """Rewrite the first parent that can be parsed; if there is none, edit the first one's text."""
        readable = [network for network in map(self._read, self._request.parents) if network]
        if not readable:
            return self._unparsed()
        chain, class_name = readable[0]
        if self._request.prompt.id == domain.SAMPLE_PROMPT_ID:
            changed = self._drawn(chain)
        elif self._is_crossover and len(readable) > 1:
            changed = self._crossed(chain, [donor for donor, _ in readable[1:]])
        else:
            changed = self._changed(chain)
        return print_network(changed, self._context.shape, class_name)

    @property
    def _is_crossover(self) -> bool:
        crosses = self._request.operator is domain.Operator.CROSSOVER
        return crosses or self._request.prompt.kind is domain.PromptKind.CROSSOVER

    def _read(self, source: str) -> tuple[Chain, str] | None:
        try:
            network = find_network(parse(source))
            chain = read_network(network, self._context.shape, self._context.num_classes)
        except (RecursionError, Unreadable):
            return None
        # A network by another writer may end without a dense layer.
        size = measure(chain, self._context.shape)
        fitted = repair(chain, replace(self._context, limits=self._context.limits.sparing(size)))
        return None if fitted is None else (fitted, network.name)

    def _changed(self, chain: Chain) -> Chain:
        """Carry out the prompt's intent; if six tries change nothing, improve the network in any way."""
        for attempt in range(_MAX_TRIES):
            intent = self._intent if attempt < _MAX_TRIES // 2 else Intent.IMPROVE
            changed = rewrite(chain, intent, self._context)
            if changed is not None and changed != chain:
                return changed
        return small_change(chain, self._context) or chain

    def _drawn(self, chain: Chain) -> Chain:
        """Apply 1 to 12 edits of any kind."""
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
        """Edit a parent that cannot be parsed; if none can be edited, change the initial network."""
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
