"""Repair of an edited chain: matching shapes, one classifier, a size within the limits."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

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
from llmatic_daemon.adapters.rewriter.steps import (
    TRAILING,
    Chain,
    Collapse,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Layer,
    Norm,
    Path,
    Pool,
    Recurrent,
    Residual,
    Rows,
    SplitStep,
    Step,
    layers,
    splice,
    unit_end,
)

_MAX_REPAIRS = 80
#: Scaling stops at these widths; a layer that is already wider keeps its width.
_WIDEST_CONV = 512
_WIDEST_OTHER = 1024


def repair(chain: Chain, context: EditContext) -> Chain | None:
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
            chain = splice(chain, (len(chain) - 1,), (Collapse(kind=context.pick("last", "mean")),))
            continue
        excess = context.limits.excess(size)
        if not excess:
            return chain
        far = getattr(size, excess) > 4 * getattr(context.limits, excess)
        chain = scaled(chain, 0.6) if far else _REMEDIES[excess](chain, context)
    return None


def starves(child: Chain, parent: Size, context: EditContext) -> bool:
    """Return whether a child has too few multiply-adds to learn, and fewer than its parent."""
    flops = measure(child, context.shape).flops
    return flops < min(context.limits.fewest_flops, parent.flops)


def _tidied(chain: Chain) -> Chain:
    """Remove steps that an edit has made useless."""
    kept: list[Step] = []
    for step in chain:
        if isinstance(step, Residual):
            if not any(layers(step.body)):
                continue
            step = replace(step, body=_tidied(step.body))
        last = kept[-1] if kept else None
        if isinstance(last, Rows | SplitStep) and isinstance(step, Collapse):
            # The recurrent layer between them was removed.
            kept[-1] = Flatten()
        elif isinstance(step, Flatten) and _is_flat(kept):
            continue
        elif not (isinstance(step, GlobalPool | Norm) and type(last) is type(step)):
            kept.append(step)
    return tuple(kept)


def _is_flat(chain: list[Step]) -> bool:
    views = [step for step in chain if isinstance(step, Flatten | Collapse | Rows | SplitStep)]
    return bool(views) and isinstance(views[-1], Flatten | Collapse)


def _headed(chain: Chain, context: EditContext) -> Chain:
    """End a chain with the dense layer that is the classifier."""
    body = list(chain)
    while body and isinstance(body[-1], TRAILING):
        body.pop()
    if body and isinstance(body[-1], Dense):
        return (*body[:-1], replace(body[-1], out=context.num_classes))
    return (*chain, Dense(out=context.num_classes))


def _without_misfit(chain: Chain, shape: Shape) -> Chain:
    try:
        trace(chain, shape)
    except Misfit as misfit:
        return _repaired(chain, misfit)
    return chain


def _repaired(chain: Chain, misfit: Misfit) -> Chain:
    """Insert a missing step before the one that does not fit, or remove that one."""
    before, path = misfit.before, misfit.path
    match _at(chain, path), before:
        case Residual() as step, _:
            return splice(chain, path, _repaired_residual(step, before), 1)
        case Dense(), (_, _, _):
            return splice(chain, path, (Flatten(),))
        case Recurrent(), (_, _, _):
            return splice(chain, path, (Rows(),))
        case Recurrent(), (_,):
            return splice(chain, path, (SplitStep(parts=16),))
        case Rows(), (_,):
            return splice(chain, path, (SplitStep(parts=16),), 1)
    return _without_unit(chain, path)


def _without_unit(chain: Chain, path: Path) -> Chain:
    index, *deeper = path
    if not deeper:
        return splice(chain, path, (), unit_end(chain, index) - index)
    residual = chain[index]
    assert isinstance(residual, Residual)
    body = _without_unit(residual.body, tuple(deeper))
    return splice(chain, (index,), (replace(residual, body=body),), 1)


def _repaired_residual(step: Residual, before: Shape) -> Chain:
    """Give a residual block the shortcut that its body needs, or remove the connection."""
    after = end(step.body, before)
    if before == after:
        return (replace(step, shortcut=()),)
    if len(before) == len(after) == 3:
        return _projected(step, before, after)
    if len(before) == len(after) and before[:-1] == after[:-1]:
        return (replace(step, shortcut=(Dense(out=after[-1]),)),)
    return step.body


def _projected(step: Residual, before: Shape, after: Shape) -> Chain:
    """Match feature maps by a 1 x 1 convolution, with a stride if the body has shrunk them."""
    for stride in (1, 2, 4, 8):
        shortcut: Chain = (Conv(out=after[0], kernel=1, stride=stride, padding=0),)
        if end(shortcut, before) == after:
            return (replace(step, shortcut=shortcut),)
    return step.body


def _at(chain: Chain, path: Path) -> Step:
    step = chain[path[0]]
    for index in path[1:]:
        assert isinstance(step, Residual)
        step = step.body[index]
    return step


# --- repairs of networks that are too large -------------------------------------------------------


def _largest(chain: Chain, context: EditContext, size: Callable[[Layer, Site], int]) -> Site:
    """Return the site of the layer with the largest size."""
    sites = [(size(s.step, s), s) for s in context.sites(chain) if isinstance(s.step, Layer)]
    return max(sites, key=lambda pair: pair[0])[1]


def _fewer_layers(chain: Chain, context: EditContext) -> Chain:
    indices = [i for i, step in enumerate(chain[:-1]) if isinstance(step, Residual | Layer)]
    return splice(chain, (context.rng.choice(indices),), (), 1)


def _fewer_parameters(chain: Chain, context: EditContext) -> Chain:
    site = _largest(chain, context, lambda layer, site: cost(layer, site.before, site.after)[0])
    flatten = _flatten_before(chain, site, context)
    if flatten is not None and context.chance(0.7):
        small = min(flatten.before[1:]) <= 4 or context.chance(0.2)
        pool: Step = GlobalPool() if small else Pool(kind=context.pick("max", "avg"))
        return splice(chain, flatten.path, (pool,))
    return _narrower(chain, site)


def _flatten_before(chain: Chain, site: Site, context: EditContext) -> Site | None:
    """Return the step that flattens maps of more than one pixel before a layer, or None."""
    flat = [s for s in context.sites(chain) if isinstance(s.step, Flatten | Rows)]
    for candidate in flat:
        maps = len(candidate.before) == 3 and max(candidate.before[1:]) > 1
        if maps and candidate.path < site.path and len(site.before) < 3:
            return candidate
    return None


def _fewer_flops(chain: Chain, context: EditContext) -> Chain:
    site = _largest(chain, context, lambda layer, site: cost(layer, site.before, site.after)[1])
    top = (site.path[0],)
    if len(site.before) == 3 and min(site.before[1:]) >= 8 and site.path[0] and context.chance(0.4):
        return splice(chain, top, (Pool(kind=context.pick("max", "max", "avg")),))
    return _narrower(chain, site)


def _smaller_tensors(chain: Chain, context: EditContext) -> Chain:
    return _narrower(chain, _largest(chain, context, lambda _, site: prod(site.after)))


def _narrower(chain: Chain, site: Site) -> Chain:
    """Narrow a layer, or the whole network if the layer's own width is fixed."""
    step = site.step
    fixed = site.path == (len(chain) - 1,) or (isinstance(step, Conv) and step.depthwise)
    if not fixed and isinstance(step, Layer) and step.out > 4:
        return splice(chain, site.path, (replace(step, out=tidy_width(step.out * 0.7)),), 1)
    return scaled(chain, 0.8)


def scaled(chain: Chain, factor: float) -> Chain:
    """Scale the width of every layer; `repair` corrects the classifier."""
    changed: list[Step] = []
    for step in chain:
        if isinstance(step, Residual):
            body, shortcut = scaled(step.body, factor), scaled(step.shortcut, factor)
            step = replace(step, body=body, shortcut=shortcut)
        elif isinstance(step, Layer):
            largest = max(step.out, _WIDEST_CONV if isinstance(step, Conv) else _WIDEST_OTHER)
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
