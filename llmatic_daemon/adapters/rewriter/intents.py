"""The intent of a prompt, and the edits that carry it out."""

import re
from dataclasses import replace
from enum import StrEnum
from functools import partial

from llmatic_daemon.adapters.rewriter import edits
from llmatic_daemon.adapters.rewriter.context import EditContext
from llmatic_daemon.adapters.rewriter.edits import Edit
from llmatic_daemon.adapters.rewriter.repair import repair, scaled, starves
from llmatic_daemon.adapters.rewriter.shape_inference import measure
from llmatic_daemon.adapters.rewriter.steps import Chain


class Intent(StrEnum):
    """The change that a prompt asks for; the values are the ids of the default prompts."""

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


#: Words that indicate an intent, the most specific first.
_WORDS = (
    (r"\b(remove|delete|drop a|leave out|prune)", Intent.REMOVE_LAYER),
    (r"drastically.*\b(small|shrink|fewer|reduc)", Intent.IMPROVE_AND_SHRINK),
    (r"drastically.*\b(large|grow|more|increas|bigger|deeper)", Intent.IMPROVE_AND_GROW),
    (r"\b(recurrent|lstm|gru|rnn)", Intent.ADD_RECURRENT),
    (r"\b(residuals|residual connections|skip connections)", Intent.ADD_RESIDUALS),
    (r"\b(residual|skip|shortcut)", Intent.ADD_RESIDUAL),
    (r"\bdropout", Intent.ADD_DROPOUT),
    (r"\b(normali[sz]|batch ?norm)", Intent.ADD_NORMALISATION),
    (r"\bpool", Intent.ADD_POOLING),
    (r"\bconv", Intent.ADD_CONVOLUTION),
    (r"\b(dense|fully.connected|linear)", Intent.ADD_DENSE),
    (r"\bactivation", Intent.CHANGE_ACTIVATION),
    (r"\b(widen|wider|more (channels|features|neurons))", Intent.WIDEN),
    (r"\b(shrink|smaller|narrow|fewer|cheaper|lighter)", Intent.SHRINK),
    (r"\b(grow|larger|bigger)", Intent.IMPROVE_AND_GROW),
    (r"\b(add|insert|deeper|deepen)", Intent.ADD_LAYER),
)


def intent_of(prompt_id: str, text: str) -> Intent:
    """Return the intent of a prompt: by its id if it is a default prompt, else by its words."""
    if prompt_id in set(Intent):
        return Intent(prompt_id)
    words = f"{prompt_id.replace('-', ' ')} {text}".lower()
    for pattern, intent in _WORDS:
        if re.search(pattern, words, re.DOTALL):
            return intent
    return Intent.IMPROVE


def rewrite(chain: Chain, intent: Intent, context: EditContext) -> Chain | None:
    """Carry out an intent, and add up to 3 small changes, by strength.

    Returns:
        The new network. None if the edit has no suitable position, or if too few weights would be left.
    """
    if intent is Intent.IMPROVE_AND_GROW:
        context = replace(context, limits=context.limits.times(1 + 2 * context.strength))
    parent = measure(chain, context.shape)
    context = replace(context, limits=context.limits.sparing(parent))
    changed = _done(_EDITS[intent], chain, context)
    if changed is None:
        return None
    for _ in range(context.rng.randrange(1 + round(3 * context.strength))):
        changed = _done(context.pick(*_SMALL), changed, context) or changed
    return None if starves(changed, parent, context) else changed


def small_change(chain: Chain, context: EditContext) -> Chain | None:
    """Resize one layer, or change a kernel or an activation."""
    return _done(context.pick(*_SMALL), chain, context)


def _done(edit: Edit, chain: Chain, context: EditContext) -> Chain | None:
    changed = edit(chain, context)
    return None if changed is None else repair(changed, context)


def _several(chain: Chain, context: EditContext, *several: Edit) -> Chain | None:
    """Apply edits one after the other, skipping those without a position; return None if none applies."""
    result = chain
    for edit in several:
        result = _done(edit, result, context) or result
    return None if result is chain else result


def _add_residuals(chain: Chain, context: EditContext) -> Chain | None:
    number = 2 + context.rng.randrange(1 + round(2 * context.strength))
    return _several(chain, context, *[edits.add_residual] * number)


def _resize(chain: Chain, context: EditContext, *, grow: bool) -> Chain | None:
    """Resize the whole network, or one to four layers."""
    if context.chance(0.3):
        return scaled(chain, context.factor() if grow else 1 / context.factor())
    number = 1 + context.rng.randrange(1 + round(3 * context.strength))
    return _several(chain, context, *[edits.widen_layer if grow else edits.narrow_layer] * number)


def _improve(chain: Chain, context: EditContext) -> Chain | None:
    """Apply what a person would probably try next for images."""
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
    number = 1 + context.rng.randrange(1 + round(2 * context.strength))
    chosen = context.rng.choices(list(choices), list(choices.values()), k=number)
    return _several(chain, context, *chosen)


def _improve_and_shrink(chain: Chain, context: EditContext) -> Chain | None:
    several: list[Edit] = [lambda chain, context: scaled(chain, context.rng.uniform(0.25, 0.6))]
    several += [edit for edit in (edits.average_globally, edits.normalise_all) if context.chance(0.5)]
    several += [edit for edit in (edits.remove_layer, edits.add_pooling) if context.chance(0.4)]
    return _several(chain, context, *several)


def _improve_and_grow(chain: Chain, context: EditContext) -> Chain | None:
    several: list[Edit] = [edits.add_stages]
    several += [edits.add_residual] * context.rng.randrange(2 + round(2 * context.strength))
    if context.chance(0.6):
        several.append(lambda chain, context: scaled(chain, context.rng.uniform(1.3, 2.5)))
    return _several(chain, context, edits.normalise_all, *several)


def _change_activation(chain: Chain, context: EditContext) -> Chain | None:
    changed = edits.change_activation(chain, context)
    return edits.add_layer(chain, context) if changed is None else changed


_SMALL: tuple[Edit, ...] = (
    edits.widen_layer,
    edits.narrow_layer,
    edits.change_kernel,
    edits.change_activation,
)

_EDITS: dict[Intent, Edit] = {
    Intent.ADD_LAYER: edits.add_layer,
    Intent.ADD_DENSE: edits.add_dense,
    Intent.ADD_CONVOLUTION: edits.add_convolution,
    Intent.ADD_POOLING: edits.add_pooling,
    Intent.ADD_RESIDUAL: edits.add_residual,
    Intent.ADD_RESIDUALS: _add_residuals,
    Intent.ADD_DROPOUT: edits.add_dropout,
    Intent.ADD_NORMALISATION: edits.add_normalisation,
    Intent.ADD_RECURRENT: edits.add_recurrent,
    Intent.REMOVE_LAYER: edits.remove_layer,
    Intent.WIDEN: partial(_resize, grow=True),
    Intent.SHRINK: partial(_resize, grow=False),
    Intent.CHANGE_ACTIVATION: _change_activation,
    Intent.IMPROVE: _improve,
    Intent.IMPROVE_AND_SHRINK: _improve_and_shrink,
    Intent.IMPROVE_AND_GROW: _improve_and_grow,
}
