"""Repair of an edited chain: matching shapes, one classifier, a size within the limits."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.context import EditContext, tidy_width
from llmatic_daemon.adapters.rewriter.shape_inference import (
    Misfit,
    Shape,
    Site,
    Size,
    cost,
    end,
    measure,
    trace,
)

_MAX_REPAIRS = 80
#: Scaling stops at these widths; a layer that is already wider keeps its width.
_WIDEST_CONV = 512
_WIDEST_OTHER = 1024


def repair(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Repair a chain until it is a network of the task within the limits.

    Returns:
        None if more than 80 repairs would be needed.
    """
    for _ in range(_MAX_REPAIRS):
        chain = _headed(_tidied(chain), context)
        try:
            size, after = measure(chain, context.shape), end(chain, context.shape)
        except Misfit:
            chain = _without_misfit(chain, context.shape)
            continue
        if len(after) > 1:
            chain = steps.splice(
                chain, (len(chain) - 1,), (steps.Collapse(kind=context.pick("last", "mean")),)
            )
            continue
        excess = context.limits.excess(size)
        if not excess:
            return chain
        far = getattr(size, excess) > 4 * getattr(context.limits, excess)
        chain = scaled(chain, 0.6) if far else _REMEDIES[excess](chain, context)
    return None


def starves(child: steps.Chain, parent: Size, context: EditContext) -> bool:
    """Return whether a child has too few multiply-adds to learn, and fewer than its parent."""
    flops = measure(child, context.shape).flops
    return flops < min(context.limits.fewest_flops, parent.flops)


def _tidied(chain: steps.Chain) -> steps.Chain:
    """Remove steps that an edit has made useless."""
    kept: list[steps.Step] = []
    for step in chain:
        if isinstance(step, steps.Residual):
            if not any(steps.layers(step.body)):
                continue
            step = replace(step, body=_tidied(step.body))
        last = kept[-1] if kept else None
        if isinstance(last, steps.Rows | steps.SplitStep) and isinstance(step, steps.Collapse):
            # The recurrent layer between them was removed.
            kept[-1] = steps.Flatten()
        elif isinstance(step, steps.Flatten) and _is_flat(kept):
            continue
        elif not (isinstance(step, steps.GlobalPool | steps.Norm) and type(last) is type(step)):
            kept.append(step)
    return tuple(kept)


def _is_flat(chain: list[steps.Step]) -> bool:
    views = (steps.Flatten, steps.Collapse, steps.Rows, steps.SplitStep)
    last = next((step for step in reversed(chain) if isinstance(step, views)), None)
    return isinstance(last, steps.Flatten | steps.Collapse)


def _headed(chain: steps.Chain, context: EditContext) -> steps.Chain:
    """End a chain with the dense layer that is the classifier."""
    body = list(chain)
    while body and isinstance(body[-1], steps.TRAILING):
        body.pop()
    if body and isinstance(body[-1], steps.Dense):
        return (*body[:-1], replace(body[-1], out=context.num_classes))
    return (*chain, steps.Dense(out=context.num_classes))


def _without_misfit(chain: steps.Chain, shape: Shape) -> steps.Chain:
    try:
        trace(chain, shape)
    except Misfit as misfit:
        return _repaired(chain, misfit)
    return chain


def _repaired(chain: steps.Chain, misfit: Misfit) -> steps.Chain:
    """Insert a missing step before the one that does not fit, or remove that one."""
    before, path = misfit.before, misfit.path
    match _at(chain, path), before:
        case steps.Residual() as step, _:
            return steps.splice(chain, path, _repaired_residual(step, before), 1)
        case steps.Dense(), (_, _, _):
            return steps.splice(chain, path, (steps.Flatten(),))
        case steps.Recurrent(), (_, _, _):
            return steps.splice(chain, path, (steps.Rows(),))
        case steps.Recurrent(), (_,):
            return steps.splice(chain, path, (steps.SplitStep(parts=16),))
        case steps.Rows(), (_,):
            return steps.splice(chain, path, (steps.SplitStep(parts=16),), 1)
    return _without_unit(chain, path)


def _without_unit(chain: steps.Chain, path: steps.Path) -> steps.Chain:
    index, *deeper = path
    if not deeper:
        return steps.splice(chain, path, (), steps.unit_end(chain, index) - index)
    residual = chain[index]
    assert isinstance(residual, steps.Residual)
    body = _without_unit(residual.body, tuple(deeper))
    return steps.splice(chain, (index,), (replace(residual, body=body),), 1)


def _repaired_residual(step: steps.Residual, before: Shape) -> steps.Chain:
    """Give a residual block the shortcut that its body needs, or remove the connection."""
    after = end(step.body, before)
    if before == after:
        return (replace(step, shortcut=()),)
    if len(before) == len(after) == 3:
        return _projected(step, before, after)
    if len(before) == len(after) and before[:-1] == after[:-1]:
        return (replace(step, shortcut=(steps.Dense(out=after[-1]),)),)
    return step.body


def _projected(step: steps.Residual, before: Shape, after: Shape) -> steps.Chain:
    """Match feature maps by a 1 x 1 convolution, with a stride if the body has shrunk them."""
    for stride in (1, 2, 4, 8):
        shortcut: steps.Chain = (steps.Conv(out=after[0], kernel=1, stride=stride, padding=0),)
        if end(shortcut, before) == after:
            return (replace(step, shortcut=shortcut),)
    return step.body


def _at(chain: steps.Chain, path: steps.Path) -> steps.Step:
    step = chain[path[0]]
    for index in path[1:]:
        assert isinstance(step, steps.Residual)
        step = step.body[index]
    return step


# --- repairs of networks that are too large -------------------------------------------------------


def _largest(chain: steps.Chain, context: EditContext, size: Callable[[steps.Layer, Site], int]) -> Site:
    """Return the site of the layer with the largest size."""
    sites = [(size(s.step, s), s) for s in context.sites(chain) if isinstance(s.step, steps.Layer)]
    return max(sites, key=lambda pair: pair[0])[1]


def _fewer_layers(chain: steps.Chain, context: EditContext) -> steps.Chain:
    indices = [i for i, step in enumerate(chain[:-1]) if isinstance(step, steps.Residual | steps.Layer)]
    return steps.splice(chain, (context.rng.choice(indices),), (), 1)


def _fewer_parameters(chain: steps.Chain, context: EditContext) -> steps.Chain:
    site = _largest(chain, context, lambda layer, site: cost(layer, site.before, site.after)[0])
    flatten = _flatten_before(chain, site, context)
    if flatten is not None and context.chance(0.7):
        small = min(flatten.before[1:]) <= 4 or context.chance(0.2)
        pool: steps.Step = steps.GlobalPool() if small else steps.Pool(kind=context.pick("max", "avg"))
        return steps.splice(chain, flatten.path, (pool,))
    return _narrower(chain, site)


def _flatten_before(chain: steps.Chain, site: Site, context: EditContext) -> Site | None:
    """Return the step that flattens maps of more than one pixel before a layer, or None."""
    flat = [s for s in context.sites(chain) if isinstance(s.step, steps.Flatten | steps.Rows)]
    for candidate in flat:
        maps = len(candidate.before) == 3 and max(candidate.before[1:]) > 1
        if maps and candidate.path < site.path and len(site.before) < 3:
            return candidate
    return None


def _fewer_flops(chain: steps.Chain, context: EditContext) -> steps.Chain:
    site = _largest(chain, context, lambda layer, site: cost(layer, site.before, site.after)[1])
    top = (site.path[0],)
    if len(site.before) == 3 and min(site.before[1:]) >= 8 and site.path[0] and context.chance(0.4):
        return steps.splice(chain, top, (steps.Pool(kind=context.pick("max", "max", "avg")),))
    return _narrower(chain, site)


def _smaller_tensors(chain: steps.Chain, context: EditContext) -> steps.Chain:
    return _narrower(chain, _largest(chain, context, lambda _, site: prod(site.after)))


def _narrower(chain: steps.Chain, site: Site) -> steps.Chain:
    """Narrow a layer, or the whole network if the layer's own width is fixed."""
    step = site.step
    fixed = site.path == (len(chain) - 1,) or (isinstance(step, steps.Conv) and step.depthwise)
    if not fixed and isinstance(step, steps.Layer) and step.out > 4:
        return steps.splice(chain, site.path, (replace(step, out=tidy_width(step.out * 0.7)),), 1)
    return scaled(chain, 0.8)


def scaled(chain: steps.Chain, factor: float) -> steps.Chain:
    """Scale the width of every layer; `repair` corrects the classifier."""
    changed: list[steps.Step] = []
    for step in chain:
        if isinstance(step, steps.Residual):
            body, shortcut = scaled(step.body, factor), scaled(step.shortcut, factor)
            step = replace(step, body=body, shortcut=shortcut)
        elif isinstance(step, steps.Layer):
            largest = max(step.out, _WIDEST_CONV if isinstance(step, steps.Conv) else _WIDEST_OTHER)
            out = min(max(step.out * factor, min(step.out, 2)), largest)
            step = replace(step, out=tidy_width(out))
        changed.append(step)
    return tuple(changed)


_REMEDIES = {
    "depth": _fewer_layers,
    "largest": _smaller_tensors,
    "num_parameters": _fewer_parameters,
    "flops": _fewer_flops,
}
