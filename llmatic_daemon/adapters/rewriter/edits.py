"""Single edits of a chain. Each returns None if the chain has no suitable position.

The result may have shapes that do not match or be too large; `repair.repair` corrects that.
"""

from collections.abc import Callable
from dataclasses import replace

from llmatic_daemon.adapters.rewriter import blocks, steps
from llmatic_daemon.adapters.rewriter.context import EditContext, openers, tidy_width
from llmatic_daemon.adapters.rewriter.shape_inference import Shape, Site

Edit = Callable[[steps.Chain, EditContext], steps.Chain | None]
_Block = Callable[[Shape, EditContext], steps.Chain]

#: A layer with fewer channels is a bottleneck: layers behind it hardly matter.
_TOO_THIN = 4


def _chosen(sites: list[Site], context: EditContext) -> Site | None:
    """Draw a site; rarely the very first, as a change before the first layer gains little."""
    if not sites:
        return None
    weights = [0.25 if site.path == (0,) else 1.0 for site in sites]
    return context.rng.choices(sites, weights)[0]


def _inserted(
    chain: steps.Chain, sites: list[Site], context: EditContext, block: _Block, *, thicken: bool = False
) -> steps.Chain | None:
    """Insert a block before one of the sites; `thicken` may widen thin convolutions first."""
    site = _chosen(sites, context)
    if site is None:
        return None
    chain = _thickened(chain, context) if thicken else chain
    return steps.splice(chain, site.path, block(site.before, context))


def add_convolution(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a convolution on feature maps."""
    return _inserted(chain, openers(context.sites(chain), 3), context, blocks.convolution, thicken=True)


def _thickened(chain: steps.Chain, context: EditContext) -> steps.Chain:
    """Widen convolutions that are too thin, in three of four cases."""
    if context.chance(0.25):
        return chain
    return tuple(
        replace(step, out=context.pick(8, 16, 24, 32))
        if isinstance(step, steps.Conv) and step.out < _TOO_THIN and not step.depthwise
        else step
        for step in chain
    )


def add_dense(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a dense layer on vectors."""
    return _inserted(chain, openers(context.sites(chain), 1), context, blocks.dense)


def add_layer(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a convolution, or less often a dense layer."""
    return (add_convolution if context.chance(0.7) else add_dense)(chain, context)


def add_pooling(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a pooling on feature maps, or a global average before they are flattened."""
    sites = [site for site in openers(context.sites(chain), 3) if min(site.before[1:]) >= 2]
    inner = [site for site in sites if len(site.path) == 1 and site.path != (0,)]
    # Two poolings in a row gain nothing.
    apart = [site for site in inner if not isinstance(chain[site.path[0] - 1], steps.Pool)]
    site = _chosen(apart or inner or sites, context)
    if site is None:
        return None
    if isinstance(site.step, steps.Flatten) and context.chance(0.4):
        return steps.splice(chain, site.path, (steps.GlobalPool(),))
    kernel = 3 if min(site.before[1:]) >= 8 and context.chance(0.25) else 2
    pool = steps.Pool(kind=context.pick("max", "avg"), kernel=kernel, stride=2, padding=kernel // 3)
    return steps.splice(chain, site.path, (pool,))


def add_residual(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a residual block, or a residual connection around existing layers."""
    if context.chance(0.35):
        wrapped = _wrapped(chain, context)
        if wrapped is not None:
            return wrapped
    sites = context.sites(chain)
    flat = [site for site in openers(sites, 1) if site.before[0] <= 512]
    candidates = flat if flat and context.chance(0.15) else openers(sites, 3)
    outer = [site for site in candidates if len(site.path) == 1]
    return _inserted(chain, outer, context, blocks.residual, thicken=True)


def _wrapped(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a shortcut around one or two units."""
    units = [unit for unit in _units(chain) if isinstance(chain[unit[0]], steps.Conv | steps.Dense)]
    if not units:
        return None
    first = context.rng.randrange(len(units))
    start, stop = units[first]
    if first + 1 < len(units) and units[first + 1][0] == stop and context.chance(0.6):
        stop = units[first + 1][1]
    sites = {site.path: site for site in context.sites(chain)}
    if len(sites[(start,)].before) != len(sites[(stop - 1,)].after):
        return None
    return steps.splice(chain, (start,), (steps.Residual(body=chain[start:stop]),), stop - start)


def _units(chain: steps.Chain) -> list[tuple[int, int]]:
    """List the (start, end) indices of all units except the classifier."""
    starts = [i for i, step in enumerate(chain[:-1]) if not isinstance(step, steps.TRAILING)]
    return [(start, steps.unit_end(chain, start)) for start in starts]


def add_dropout(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a dropout before a layer, mostly on vectors."""
    layers = [site for site in context.sites(chain) if isinstance(site.step, steps.Conv | steps.Dense)]
    flat = [site for site in layers if len(site.before) < 3]
    return _inserted(chain, flat if flat and context.chance(0.6) else layers, context, blocks.dropout)


def add_normalisation(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Normalise after a layer that has no normalisation yet; if there is none, before a layer."""
    sites = context.sites(chain)
    following = {site.path: site.step for site in sites}
    bare = [
        site
        for site in sites[:-1]
        if isinstance(site.step, steps.Conv | steps.Dense)
        and not isinstance(following.get((*site.path[:-1], site.path[-1] + 1)), steps.Norm)
    ]
    kind = context.pick("batch", "batch", "batch", "layer", "group")
    if bare:
        site = context.rng.choice(bare)
        # A layer normalisation of whole maps has a weight for each value, so groups are used instead.
        kind = "group" if kind == "layer" and len(site.after) == 3 else kind
        return steps.splice(chain, (*site.path[:-1], site.path[-1] + 1), (steps.Norm(kind=kind),))
    site = context.rng.choice([site for site in sites if isinstance(site.step, steps.Conv | steps.Dense)])
    kind = "group" if kind == "layer" and len(site.before) == 3 else kind
    return steps.splice(chain, site.path, (steps.Norm(kind=kind),))


def add_recurrent(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Read the rows of feature maps, or the parts of a vector, as a sequence."""
    sites = context.sites(chain)
    for site in sites:
        if isinstance(site.step, steps.Recurrent):
            return steps.splice(chain, site.path, (blocks.recurrent(context),))
    collapse = steps.Collapse(kind=context.pick("last", "mean"))
    flattens = [site for site in sites if isinstance(site.step, steps.Flatten) and len(site.before) == 3]
    if flattens and flattens[0].before[1] > 1 and context.chance(0.7):
        rows = (steps.Rows(), blocks.recurrent(context), collapse)
        return steps.splice(chain, flattens[0].path, rows, 1)
    flat = openers(sites, 1)
    site = context.rng.choice([site for site in flat if len(site.path) == 1])
    parts = (steps.SplitStep(parts=context.pick(4, 8, 16, 32)), blocks.recurrent(context), collapse)
    return steps.splice(chain, site.path, parts)


# --- edits of existing layers ---------------------------------------------------------------------


def _resized(chain: steps.Chain, context: EditContext, factor: float, reverse: bool) -> steps.Chain | None:
    """Scale one layer; the first ones in the order of width are the most likely."""
    sites = [(site, site.step) for site in context.sites(chain)[:-1] if isinstance(site.step, steps.Layer)]
    found = [pair for pair in sites if not (isinstance(pair[1], steps.Conv) and pair[1].depthwise)]
    found.sort(key=lambda pair: pair[1].out, reverse=reverse)
    if not found:
        return None
    site, layer = found[int(len(found) * context.rng.random() ** 1.5)]
    out = tidy_width(layer.out * factor)
    if factor > 1:
        out = max(out, layer.out + 1, context.pick(8, 12, 16, 24, 32) if layer.out < 8 else 0)
    elif out == layer.out:
        out -= 1
    return None if out < 1 else steps.splice(chain, site.path, (replace(layer, out=out),), 1)


def widen_layer(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Widen one layer."""
    return _resized(chain, context, context.factor(), reverse=False)


def narrow_layer(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Narrow one layer."""
    return _resized(chain, context, 1 / context.factor(), reverse=True)


def remove_layer(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Remove a layer with its normalisation, activation and dropout, or a whole residual block."""
    units = [unit for unit in _units(chain) if isinstance(chain[unit[0]], steps.Layer | steps.Residual)]
    if not units:
        return None
    start, stop = context.rng.choice(units)
    return steps.splice(chain, (start,), (), stop - start)


def change_kernel(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Change the kernel of one convolution."""
    sites = [s for s in context.sites(chain) if isinstance(s.step, steps.Conv) and s.step.dilation == 1]
    if not sites:
        return None
    site = context.rng.choice(sites)
    assert isinstance(site.step, steps.Conv)
    kernels = [kernel for kernel in (1, 3, 5, 7) if kernel != site.step.kernel]
    kernel = context.rng.choices(kernels, [1 / kernel for kernel in kernels])[0]
    return steps.splice(chain, site.path, (replace(site.step, kernel=kernel, padding=kernel // 2),), 1)


def change_activation(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Change the activation function, once or everywhere."""
    sites = [site for site in context.sites(chain) if isinstance(site.step, steps.Activation)]
    if not sites:
        return None
    chosen = sites if context.chance(0.5) else [context.rng.choice(sites)]
    old = {site.step.function for site in chosen if isinstance(site.step, steps.Activation)}
    function = context.pick(*(name for name in blocks.ACTIVATIONS if {name} != old))
    for site in chosen:
        chain = steps.splice(chain, site.path, (steps.Activation(function=function),), 1)
    return chain


def average_globally(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Average each channel instead of flattening every pixel."""
    for site in context.sites(chain):
        if isinstance(site.step, steps.Flatten) and len(site.before) == 3 and max(site.before[1:]) > 1:
            return steps.splice(chain, site.path, (steps.GlobalPool(),))
    return None


def normalise_all(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Normalise after every convolution that has no normalisation yet."""
    changed: list[steps.Step] = []
    for index, step in enumerate(chain):
        changed.append(step)
        bare = index + 1 < len(chain) and not isinstance(chain[index + 1], steps.Norm)
        if isinstance(step, steps.Conv) and bare:
            changed.append(steps.Norm())
    return tuple(changed) if len(changed) > len(chain) else None


def add_stages(chain: steps.Chain, context: EditContext) -> steps.Chain | None:
    """Add a stack of stages with a pooling after each, before the maps are flattened."""
    sites = [s for s in openers(context.sites(chain), 3) if len(s.path) == 1 and s.path != (0,)]
    if not sites:
        return None
    site = next((s for s in sites if isinstance(s.step, steps.Flatten | steps.GlobalPool)), sites[-1])
    before, new = site.before, tuple[steps.Step, ...]()
    width = blocks.channels_near(before, context)
    for _ in range(context.pick(1, 2, 3)):
        new += blocks.stage(before, context, width)
        before = (width, *before[1:])
        if min(before[1:]) >= 4:
            new += (steps.Pool(kind=context.pick("max", "max", "avg")),)
            before = (width, before[1] // 2, before[2] // 2)
            width = tidy_width(min(width * context.pick(1.0, 1.5, 2.0), 256))
    return steps.splice(_thickened(chain, context), site.path, new)
