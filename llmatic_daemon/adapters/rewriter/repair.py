"""Make an edited chain a network again: shapes that work out, one classifier, within the limits."""

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
#: Scaling a network stops here; a layer that is wider already stays so.
_WIDEST_CONV = 512
_WIDEST_OTHER = 1024


def repair(chain: Chain, context: EditContext) -> Chain | None:
    """Repair a chain until it is a network of the task within the limits.

    Returns:
        None when that takes too many repairs.
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
    """Tell whether a child has too little to learn with, and less than its parent."""
    flops = measure(child, context.shape).flops
    return flops < min(context.limits.fewest_flops, parent.flops)


def _tidied(chain: Chain) -> Chain:
    """Leave out what an edit left without a purpose."""
    kept: list[Step] = []
    for step in chain:
        if isinstance(step, Residual):
            if not any(layers(step.body)):
                continue
            step = replace(step, body=_tidied(step.body))
        last = kept[-1] if kept else None
        if isinstance(last, Rows | SplitStep) and isinstance(step, Collapse):
            # The recurrent layer between them has gone.
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
    """End a chain with the one dense layer that tells the classes apart."""
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
    """Put what is missing before a step, or leave the step out."""
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
    """Give a residual the shortcut that its body needs, or leave the connection out."""
    after = end(step.body, before)
    if before == after:
        return (replace(step, shortcut=()),)
    if len(before) == len(after) == 3:
        return _projected(step, before, after)
    if len(before) == len(after) and before[:-1] == after[:-1]:
        return (replace(step, shortcut=(Dense(out=after[-1]),)),)
    return step.body


def _projected(step: Residual, before: Shape, after: Shape) -> Chain:
    """Match feature maps by a 1 x 1 convolution, with a stride where the body has shrunk them."""
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


# --- too large ------------------------------------------------------------------------------------


def _costliest(chain: Chain, context: EditContext, kind: int) -> Site:
    """Find the layer with most parameters (kind 0) or multiply-adds (kind 1)."""
    sites = [s for s in context.sites(chain) if isinstance(s.step, Conv | Dense | Recurrent)]
    return max(sites, key=lambda site: _cost_of(site)[kind])


def _cost_of(site: Site) -> tuple[int, int]:
    assert isinstance(site.step, Conv | Dense | Recurrent)
    return cost(site.step, site.before, site.after)


def _fewer_layers(chain: Chain, context: EditContext) -> Chain:
    index = context.rng.choice([i for i, step in enumerate(chain[:-1]) if _has_layer(step)])
    return splice(chain, (index,), (), 1)


def _has_layer(step: Step) -> bool:
    return isinstance(step, Residual | Conv | Dense | Recurrent)


def _fewer_parameters(chain: Chain, context: EditContext) -> Chain:
    site = _costliest(chain, context, 0)
    flatten = _flatten_before(chain, site, context)
    if flatten is not None and context.chance(0.7):
        small = min(flatten.before[1:]) <= 4 or context.chance(0.2)
        pool: Step = GlobalPool() if small else Pool(kind=context.pick("max", "avg"))
        return splice(chain, flatten.path, (pool,))
    return _narrower(chain, site, context)


def _flatten_before(chain: Chain, site: Site, context: EditContext) -> Site | None:
    """Find the maps that are flattened for a layer, when they are more than one pixel."""
    flat = [s for s in context.sites(chain) if isinstance(s.step, Flatten | Rows)]
    for candidate in flat:
        maps = len(candidate.before) == 3 and max(candidate.before[1:]) > 1
        if maps and candidate.path < site.path and len(site.before) < 3:
            return candidate
    return None


def _fewer_flops(chain: Chain, context: EditContext) -> Chain:
    site = _costliest(chain, context, 1)
    top = (site.path[0],)
    if len(site.before) == 3 and min(site.before[1:]) >= 8 and site.path[0] and context.chance(0.4):
        return splice(chain, top, (Pool(kind=context.pick("max", "max", "avg")),))
    return _narrower(chain, site, context)


def _smaller_tensors(chain: Chain, context: EditContext) -> Chain:
    sites = [s for s in context.sites(chain) if isinstance(s.step, Conv | Dense | Recurrent)]
    site = max(sites, key=lambda s: prod(s.after))
    return _narrower(chain, site, context)


def _narrower(chain: Chain, site: Site, context: EditContext) -> Chain:
    """Narrow a layer, or the ones before it when its own width is fixed."""
    step = site.step
    fixed = site.path == (len(chain) - 1,) or (isinstance(step, Conv) and step.depthwise)
    if not fixed and isinstance(step, Conv | Dense | Recurrent) and step.out > 4:
        return splice(chain, site.path, (replace(step, out=tidy_width(step.out * 0.7)),), 1)
    return scaled(chain, 0.8)


def scaled(chain: Chain, factor: float) -> Chain:
    """Scale the width of every layer; the classifier is set right by `fit`."""
    changed: list[Step] = []
    for step in chain:
        if isinstance(step, Residual):
            body, shortcut = scaled(step.body, factor), scaled(step.shortcut, factor)
            step = replace(step, body=body, shortcut=shortcut)
        elif isinstance(step, Conv | Dense | Recurrent):
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
