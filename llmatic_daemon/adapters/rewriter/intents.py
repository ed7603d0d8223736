"""What a prompt asks for, and the edits that do it."""

import re
from dataclasses import replace
from enum import StrEnum

from llmatic_daemon.adapters.rewriter import edits
from llmatic_daemon.adapters.rewriter.context import Workbench
from llmatic_daemon.adapters.rewriter.edits import Edit
from llmatic_daemon.adapters.rewriter.repair import fit, scaled, starves
from llmatic_daemon.adapters.rewriter.shape_inference import measure
from llmatic_daemon.adapters.rewriter.steps import Chain


class Intention(StrEnum):
    """What a prompt asks for; the values are the ids of the prompts that we ship."""

    ADD_LAYER = "add-layer"
    ADD_DENSE = "add-dense"
    ADD_CONVOLUTION = "add-convolution"
    ADD_POOLING = "add-pooling"
    ADD_RESIDUAL = "add-residual"
    ADD_RESIDUALS = "add-residuals"
    ADD_DROPOUT = "add-dropout"
    ADD_NORMALISATION = "add-normalisation"
    ADD_RECURRENT = "add-recurrent"
    REMOVE_LAYER = "remove-layer"
    WIDEN = "widen"
    SHRINK = "shrink"
    CHANGE_ACTIVATION = "change-activation"
    IMPROVE = "improve"
    IMPROVE_AND_SHRINK = "improve-and-shrink"
    IMPROVE_AND_GROW = "improve-and-grow"


#: Words that give an intention away, the more telling first.
_WORDS = (
    (r"\b(remove|delete|drop a|leave out|prune)", Intention.REMOVE_LAYER),
    (r"drastically.*\b(small|shrink|fewer|reduc)", Intention.IMPROVE_AND_SHRINK),
    (r"drastically.*\b(large|grow|more|increas|bigger|deeper)", Intention.IMPROVE_AND_GROW),
    (r"\b(recurrent|lstm|gru|rnn)", Intention.ADD_RECURRENT),
    (r"\b(residuals|residual connections|skip connections)", Intention.ADD_RESIDUALS),
    (r"\b(residual|skip|shortcut)", Intention.ADD_RESIDUAL),
    (r"\bdropout", Intention.ADD_DROPOUT),
    (r"\b(normali[sz]|batch ?norm)", Intention.ADD_NORMALISATION),
    (r"\bpool", Intention.ADD_POOLING),
    (r"\bconv", Intention.ADD_CONVOLUTION),
    (r"\b(dense|fully.connected|linear)", Intention.ADD_DENSE),
    (r"\bactivation", Intention.CHANGE_ACTIVATION),
    (r"\b(widen|wider|more (channels|features|neurons))", Intention.WIDEN),
    (r"\b(shrink|smaller|narrow|fewer|cheaper|lighter)", Intention.SHRINK),
    (r"\b(grow|larger|bigger)", Intention.IMPROVE_AND_GROW),
    (r"\b(add|insert|deeper|deepen)", Intention.ADD_LAYER),
)


def intention_of(prompt_id: str, text: str) -> Intention:
    """Tell what a prompt asks for: by its id when it is ours, else by its words."""
    if prompt_id in set(Intention):
        return Intention(prompt_id)
    words = f"{prompt_id.replace('-', ' ')} {text}".lower()
    for pattern, intention in _WORDS:
        if re.search(pattern, words, re.DOTALL):
            return intention
    return Intention.IMPROVE


def rewrite(chain: Chain, intention: Intention, bench: Workbench) -> Chain | None:
    """Do once what an intention asks for, and a few small changes more when bold.

    Returns:
        The new network; None where there is no place for the edit, or where it would starve it.
    """
    if intention is Intention.IMPROVE_AND_GROW:
        bench = replace(bench, limits=bench.limits.times(1 + 2 * bench.freedom))
    parent = measure(chain, bench.shape)
    bench = replace(bench, limits=bench.limits.sparing(parent))
    changed = _done(_EDITS[intention], chain, bench)
    if changed is None:
        return None
    for _ in range(bench.rng.randrange(1 + round(3 * bench.freedom))):
        changed = _done(bench.pick(*_SMALL), changed, bench) or changed
    return None if starves(changed, parent, bench) else changed


def small_change(chain: Chain, bench: Workbench) -> Chain | None:
    """Resize one layer, or change a kernel or an activation."""
    return _done(bench.pick(*_SMALL), chain, bench)


def _done(edit: Edit, chain: Chain, bench: Workbench) -> Chain | None:
    changed = edit(chain, bench)
    return None if changed is None else fit(changed, bench)


def _several(chain: Chain, bench: Workbench, *several: Edit) -> Chain | None:
    """Do edits one after the other, those that find a place; None when none does."""
    result = chain
    for edit in several:
        result = _done(edit, result, bench) or result
    return None if result is chain else result


def _add_residuals(chain: Chain, bench: Workbench) -> Chain | None:
    number = 2 + bench.rng.randrange(1 + round(2 * bench.freedom))
    return _several(chain, bench, *[edits.add_residual] * number)


def _widen(chain: Chain, bench: Workbench) -> Chain | None:
    if bench.chance(0.3):
        return scaled(chain, bench.factor())
    number = 1 + bench.rng.randrange(1 + round(3 * bench.freedom))
    return _several(chain, bench, *[edits.widen_layer] * number)


def _shrink(chain: Chain, bench: Workbench) -> Chain | None:
    if bench.chance(0.3):
        return scaled(chain, 1 / bench.factor())
    number = 1 + bench.rng.randrange(1 + round(3 * bench.freedom))
    return _several(chain, bench, *[edits.narrow_layer] * number)


def _improve(chain: Chain, bench: Workbench) -> Chain | None:
    """Do what a person would try next: mostly more of what images like."""
    choices: dict[Edit, float] = {
        edits.add_stages: 2.0,
        edits.add_convolution: 2.0,
        edits.add_residual: 2.0,
        edits.normalise_all: 1.5,
        edits.average_globally: 1.0,
        edits.add_pooling: 1.0,
        edits.widen_layer: 1.5,
        edits.add_dense: 0.5,
        edits.add_dropout: 0.5,
        edits.change_kernel: 0.5,
        edits.remove_layer: 0.5,
    }
    number = 1 + bench.rng.randrange(1 + round(2 * bench.freedom))
    chosen = bench.rng.choices(list(choices), list(choices.values()), k=number)
    return _several(chain, bench, *chosen)


def _improve_and_shrink(chain: Chain, bench: Workbench) -> Chain | None:
    several: list[Edit] = [lambda chain, bench: scaled(chain, bench.rng.uniform(0.25, 0.6))]
    several += [edit for edit in (edits.average_globally, edits.normalise_all) if bench.chance(0.5)]
    several += [edit for edit in (edits.remove_layer, edits.add_pooling) if bench.chance(0.4)]
    return _several(chain, bench, *several)


def _improve_and_grow(chain: Chain, bench: Workbench) -> Chain | None:
    several: list[Edit] = [edits.add_stages]
    several += [edits.add_residual] * bench.rng.randrange(2 + round(2 * bench.freedom))
    if bench.chance(0.6):
        several.append(lambda chain, bench: scaled(chain, bench.rng.uniform(1.3, 2.5)))
    return _several(chain, bench, edits.normalise_all, *several)


def _change_activation(chain: Chain, bench: Workbench) -> Chain | None:
    changed = edits.change_activation(chain, bench)
    return edits.add_layer(chain, bench) if changed is None else changed


_SMALL: tuple[Edit, ...] = (
    edits.widen_layer,
    edits.narrow_layer,
    edits.change_kernel,
    edits.change_activation,
)

_EDITS: dict[Intention, Edit] = {
    Intention.ADD_LAYER: edits.add_layer,
    Intention.ADD_DENSE: edits.add_dense,
    Intention.ADD_CONVOLUTION: edits.add_convolution,
    Intention.ADD_POOLING: edits.add_pooling,
    Intention.ADD_RESIDUAL: edits.add_residual,
    Intention.ADD_RESIDUALS: _add_residuals,
    Intention.ADD_DROPOUT: edits.add_dropout,
    Intention.ADD_NORMALISATION: edits.add_normalisation,
    Intention.ADD_RECURRENT: edits.add_recurrent,
    Intention.REMOVE_LAYER: edits.remove_layer,
    Intention.WIDEN: _widen,
    Intention.SHRINK: _shrink,
    Intention.CHANGE_ACTIVATION: _change_activation,
    Intention.IMPROVE: _improve,
    Intention.IMPROVE_AND_SHRINK: _improve_and_shrink,
    Intention.IMPROVE_AND_GROW: _improve_and_grow,
}
