"""Crossover: combine the layers of two networks."""

from dataclasses import replace

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.context import EditContext
from llmatic_daemon.adapters.rewriter.repair import repair, starves
from llmatic_daemon.adapters.rewriter.shape_inference import measure


def crossover(chain: steps.Chain, donor: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Insert layers of a donor into a network, or join the start of one and the end of the other.

    Returns:
        None if the donor has no suitable layers, or the result cannot be repaired.
    """
    parent = measure(chain, context.shape)
    context = replace(context, limits=context.limits.sparing(parent))
    joined = _crossed(chain, donor, context) if context.chance(0.35) else _inserted(chain, donor, context)
    child = None if joined is None else repair(joined, context)
    if child is None or starves(child, parent, context):
        return None
    return child


def _maps_end(chain: steps.Chain) -> int:
    """Return the index of the first step that turns feature maps into a vector or a sequence."""
    for index, step in enumerate(chain):
        if isinstance(step, steps.Flatten | steps.Rows | steps.Dense):
            return index
    return len(chain)


def _cuts(chain: steps.Chain, start: int, stop: int) -> list[int]:
    """List the indices between units."""
    return [
        index
        for index in range(start, stop + 1)
        if index == len(chain) or not isinstance(chain[index], steps.TRAILING)
    ]


def _inserted(chain: steps.Chain, donor: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Insert a run of the donor's units among those of the network."""
    piece = _piece(donor, _cuts(donor, 0, _maps_end(donor)), context)
    start, stop = 0, _maps_end(chain)
    if not piece or context.chance(0.15):
        piece = _piece(donor, _cuts(donor, _maps_end(donor) + 1, len(donor) - 1), context) or piece
        if piece and isinstance(piece[0], steps.Dense):
            start, stop = stop + 1, len(chain) - 1
    if not piece:
        return None
    cuts = _cuts(chain, min(start, stop), stop)
    cut = end = context.rng.choice(cuts)
    if context.chance(0.4):
        # Replace some of the network's own units.
        end = context.rng.choice([other for other in cuts if other >= cut][:3])
    replaced = (*chain[:cut], *piece, *chain[end:])
    own = {id(layer) for layer in steps.layers(chain[:-1])}
    if any(id(layer) in own for layer in steps.layers(replaced)):
        return replaced
    return (*chain[:cut], *piece, *chain[cut:])


def _piece(donor: steps.Chain, cuts: list[int], context: EditContext) -> steps.Chain:
    """Draw a run of units that contains a layer: at most 2 to 6 units, by strength."""
    runs = [
        donor[start:stop]
        for start in cuts
        for stop in cuts
        if start < stop and cuts.index(stop) - cuts.index(start) <= 2 + round(4 * context.strength)
    ]
    runs = [run for run in runs if any(isinstance(step, steps.Layer | steps.Residual) for step in run)]
    return context.rng.choice(runs) if runs else ()


def _crossed(chain: steps.Chain, donor: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Join the first units of the network with the donor's last ones, both cut at feature maps."""
    heads = [cut for cut in _cuts(chain, 0, _maps_end(chain)) if any(steps.layers(chain[:cut]))]
    tails = [cut for cut in _cuts(donor, 0, _maps_end(donor)) if any(steps.layers(donor[cut:-1]))]
    if not heads or not tails:
        return _inserted(chain, donor, context)
    return (*chain[: context.rng.choice(heads)], *donor[context.rng.choice(tails) :])
