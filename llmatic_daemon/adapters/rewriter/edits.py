"""Single edits of a chain: each does one thing, and answers None where it finds no place for it.

An edit may leave shapes that do not work out, or too large a network: `fitting.fit` comes after.
"""

from collections.abc import Callable
from dataclasses import replace

from llmatic_daemon.adapters.rewriter import blocks
from llmatic_daemon.adapters.rewriter.context import Workbench, openers, tidy_width
from llmatic_daemon.adapters.rewriter.shape_inference import Site
from llmatic_daemon.adapters.rewriter.steps import (
    TRAILING,
    Activation,
    Chain,
    Collapse,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Layer,
    Norm,
    Pool,
    Recurrent,
    Residual,
    Rows,
    SplitStep,
    Step,
    splice,
    unit_end,
)

Edit = Callable[[Chain, Workbench], Chain | None]

#: A layer with fewer channels than this lets too little through for what follows to matter.
_TOO_THIN = 4


def _place(sites: list[Site], bench: Workbench) -> Site | None:
    """Draw a place, seldom the very first: little is gained before the first layer."""
    if not sites:
        return None
    weights = [0.25 if site.path == (0,) else 1.0 for site in sites]
    return bench.rng.choices(sites, weights)[0]


def add_convolution(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a convolution on feature maps."""
    site = _place(openers(bench.sites(chain), 3), bench)
    if site is None:
        return None
    return splice(_opened(chain, bench), site.path, blocks.convolution(site.before, bench))


def _opened(chain: Chain, bench: Workbench) -> Chain:
    """Give convolutions that are too thin a fair width, mostly."""
    if bench.chance(0.25):
        return chain
    return tuple(
        replace(step, out=bench.pick(8, 16, 24, 32))
        if isinstance(step, Conv) and step.out < _TOO_THIN and not step.depthwise
        else step
        for step in chain
    )


def add_dense(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a dense layer on the flat part."""
    site = _place(openers(bench.sites(chain), 1), bench)
    if site is None:
        return None
    return splice(chain, site.path, blocks.dense(site.before, bench))


def add_layer(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a convolution, or less often a dense layer."""
    return (add_convolution if bench.chance(0.7) else add_dense)(chain, bench)


def add_pooling(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a pooling on feature maps, or average them all before they are flattened."""
    sites = [site for site in openers(bench.sites(chain), 3) if min(site.before[1:]) >= 2]
    inner = [site for site in sites if len(site.path) == 1 and site.path != (0,)]
    # One pooling after the other wins nothing.
    apart = [site for site in inner if not isinstance(chain[site.path[0] - 1], Pool)]
    site = _place(apart or inner or sites, bench)
    if site is None:
        return None
    if isinstance(site.step, Flatten) and bench.chance(0.4):
        return splice(chain, site.path, (GlobalPool(),))
    kernel = 3 if min(site.before[1:]) >= 8 and bench.chance(0.25) else 2
    pool = Pool(kind=bench.pick("max", "avg"), kernel=kernel, stride=2, padding=kernel // 3)
    return splice(chain, site.path, (pool,))


def add_residual(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a residual block, or a residual connection around layers that are there."""
    if bench.chance(0.35):
        wrapped = _wrapped(chain, bench)
        if wrapped is not None:
            return wrapped
    sites = bench.sites(chain)
    flat = [site for site in openers(sites, 1) if site.before[0] <= 512]
    places = flat if flat and bench.chance(0.15) else openers(sites, 3)
    site = _place([site for site in places if len(site.path) == 1], bench)
    if site is None:
        return None
    return splice(_opened(chain, bench), site.path, blocks.residual(site.before, bench))


def _wrapped(chain: Chain, bench: Workbench) -> Chain | None:
    """Lead a shortcut around one or two units."""
    units = [unit for unit in _units(chain) if isinstance(chain[unit[0]], Conv | Dense)]
    if not units:
        return None
    first = bench.rng.randrange(len(units))
    start, stop = units[first]
    if first + 1 < len(units) and units[first + 1][0] == stop and bench.chance(0.6):
        stop = units[first + 1][1]
    sites = {site.path: site for site in bench.sites(chain)}
    if len(sites[(start,)].before) != len(sites[(stop - 1,)].after):
        return None
    return splice(chain, (start,), (Residual(body=chain[start:stop]),), stop - start)


def _units(chain: Chain) -> list[tuple[int, int]]:
    """Find all units but the classifier: from where to before where each goes."""
    starts = [i for i, step in enumerate(chain[:-1]) if not isinstance(step, TRAILING)]
    return [(start, unit_end(chain, start)) for start in starts]


def add_dropout(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a dropout before a layer, mostly on the flat part."""
    sites = bench.sites(chain)
    layers = [site for site in sites if isinstance(site.step, Conv | Dense)]
    flat = [site for site in layers if len(site.before) < 3]
    places = flat if flat and bench.chance(0.6) else layers
    site = _place(places, bench)
    if site is None:
        return None
    return splice(chain, site.path, (blocks.dropout(site.before, bench),))


def add_normalisation(chain: Chain, bench: Workbench) -> Chain | None:
    """Normalise after a layer that is not followed by it; else before a layer."""
    sites = bench.sites(chain)
    following = {site.path: site.step for site in sites}
    bare = [
        site
        for site in sites[:-1]
        if isinstance(site.step, Conv | Dense)
        and not isinstance(following.get((*site.path[:-1], site.path[-1] + 1)), Norm)
    ]
    kind = bench.pick("batch", "batch", "batch", "layer", "group")
    if bare:
        site = bench.rng.choice(bare)
        # A layer normalisation of whole maps has a weight for each value: groups do as well.
        kind = "group" if kind == "layer" and len(site.after) == 3 else kind
        return splice(chain, (*site.path[:-1], site.path[-1] + 1), (Norm(kind=kind),))
    site = bench.rng.choice([site for site in sites if isinstance(site.step, Conv | Dense)])
    kind = "group" if kind == "layer" and len(site.before) == 3 else kind
    return splice(chain, site.path, (Norm(kind=kind),))


def add_recurrent(chain: Chain, bench: Workbench) -> Chain | None:
    """Read the rows of feature maps, or the parts of a vector, as a sequence."""
    sites = bench.sites(chain)
    for site in sites:
        if isinstance(site.step, Recurrent):
            return splice(chain, site.path, (blocks.recurrent(bench),))
    collapse = Collapse(kind=bench.pick("last", "mean"))
    flattens = [site for site in sites if isinstance(site.step, Flatten) and len(site.before) == 3]
    if flattens and flattens[0].before[1] > 1 and bench.chance(0.7):
        rows = (Rows(), blocks.recurrent(bench), collapse)
        return splice(chain, flattens[0].path, rows, 1)
    flat = openers(sites, 1)
    site = bench.rng.choice([site for site in flat if len(site.path) == 1])
    parts = (SplitStep(parts=bench.pick(4, 8, 16, 32)), blocks.recurrent(bench), collapse)
    return splice(chain, site.path, parts)


# --- what is there --------------------------------------------------------------------------------


def _resizable(chain: Chain, bench: Workbench) -> list[tuple[Site, Layer]]:
    return [
        (site, site.step)
        for site in bench.sites(chain)[:-1]
        if isinstance(site.step, Conv | Dense | Recurrent)
        and not (isinstance(site.step, Conv) and site.step.depthwise)
    ]


def _resized(chain: Chain, bench: Workbench, factor: float, reverse: bool) -> Chain | None:
    """Scale one layer: a narrow one more likely when widening, else a wide one."""
    found = sorted(_resizable(chain, bench), key=lambda pair: pair[1].out, reverse=reverse)
    if not found:
        return None
    site, layer = found[int(len(found) * bench.rng.random() ** 1.5)]
    out = tidy_width(layer.out * factor)
    if factor > 1:
        out = max(out, layer.out + 1, bench.pick(8, 12, 16, 24, 32) if layer.out < 8 else 0)
    elif out == layer.out:
        out -= 1
    return None if out < 1 else splice(chain, site.path, (replace(layer, out=out),), 1)


def widen_layer(chain: Chain, bench: Workbench) -> Chain | None:
    """Widen one layer."""
    return _resized(chain, bench, bench.factor(), reverse=False)


def narrow_layer(chain: Chain, bench: Workbench) -> Chain | None:
    """Narrow one layer."""
    return _resized(chain, bench, 1 / bench.factor(), reverse=True)


def remove_layer(chain: Chain, bench: Workbench) -> Chain | None:
    """Remove a layer and what belongs to it, or a whole residual block."""
    units = [unit for unit in _units(chain) if isinstance(chain[unit[0]], Layer | Residual)]
    if not units:
        return None
    start, stop = bench.rng.choice(units)
    return splice(chain, (start,), (), stop - start)


def change_kernel(chain: Chain, bench: Workbench) -> Chain | None:
    """Give one convolution another kernel."""
    sites = [s for s in bench.sites(chain) if isinstance(s.step, Conv) and s.step.dilation == 1]
    if not sites:
        return None
    site = bench.rng.choice(sites)
    assert isinstance(site.step, Conv)
    kernels = [kernel for kernel in (1, 3, 5, 7) if kernel != site.step.kernel]
    kernel = bench.rng.choices(kernels, [1 / kernel for kernel in kernels])[0]
    return splice(chain, site.path, (replace(site.step, kernel=kernel, padding=kernel // 2),), 1)


def change_activation(chain: Chain, bench: Workbench) -> Chain | None:
    """Take another activation function, in one place or in all."""
    sites = [site for site in bench.sites(chain) if isinstance(site.step, Activation)]
    if not sites:
        return None
    chosen = sites if bench.chance(0.5) else [bench.rng.choice(sites)]
    old = {site.step.function for site in chosen if isinstance(site.step, Activation)}
    function = bench.pick(*(name for name in blocks.ACTIVATIONS if {name} != old))
    for site in chosen:
        chain = splice(chain, site.path, (Activation(function=function),), 1)
    return chain


def average_globally(chain: Chain, bench: Workbench) -> Chain | None:
    """Average each channel instead of flattening every pixel."""
    for site in bench.sites(chain):
        if isinstance(site.step, Flatten) and len(site.before) == 3 and max(site.before[1:]) > 1:
            return splice(chain, site.path, (GlobalPool(),))
    return None


def normalise_all(chain: Chain, bench: Workbench) -> Chain | None:
    """Normalise after every convolution that is not followed by it."""
    changed: list[Step] = []
    for index, step in enumerate(chain):
        changed.append(step)
        bare = index + 1 < len(chain) and not isinstance(chain[index + 1], Norm)
        if isinstance(step, Conv) and bare:
            changed.append(Norm())
    return tuple(changed) if len(changed) > len(chain) else None


def add_stages(chain: Chain, bench: Workbench) -> Chain | None:
    """Put a stack of stages with a pooling after each, before the maps are flattened."""
    sites = [s for s in openers(bench.sites(chain), 3) if len(s.path) == 1 and s.path != (0,)]
    if not sites:
        return None
    site = next((s for s in sites if isinstance(s.step, Flatten | GlobalPool)), sites[-1])
    before, new = site.before, tuple[Step, ...]()
    width = blocks.channels_near(before, bench)
    for _ in range(bench.pick(1, 2, 3)):
        new += blocks.stage(before, bench, width)
        before = (width, *before[1:])
        if min(before[1:]) >= 4:
            new += (Pool(kind=bench.pick("max", "max", "avg")),)
            before = (width, before[1] // 2, before[2] // 2)
            width = tidy_width(min(width * bench.pick(1.0, 1.5, 2.0), 256))
    return splice(_opened(chain, bench), site.path, new)
