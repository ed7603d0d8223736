"""The offline rewriter: what it is asked for shows, and nothing makes it raise."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from llmatic_daemon.adapters.prompts.prompt_files import default_folder, read_prompts
from llmatic_daemon.adapters.rewriter.context import SizeLimits
from llmatic_daemon.adapters.rewriter.intents import Intent, intent_of
from llmatic_daemon.adapters.rewriter.parser import find_network, parse, read_network
from llmatic_daemon.adapters.rewriter.printer import print_network
from llmatic_daemon.adapters.rewriter.shape_inference import Misfit, end, measure, norm_groups
from llmatic_daemon.adapters.rewriter.steps import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Norm,
    Pool,
    Recurrent,
    Residual,
    layers,
    walk,
)
from llmatic_daemon.adapters.rewriter.writer import OfflineRewriter
from llmatic_daemon.domain import Prompt, PromptKind, Task
from tests.support.fakes import request_for
from tests.support.paths import ROOT
from tests.support.samples import sampled

PROMPTS = read_prompts(default_folder())
MUTATION = tuple(p for p in PROMPTS if p.kind is PromptKind.MUTATION)
CROSSOVER = next(p for p in PROMPTS if p.kind is PromptKind.CROSSOVER)
TASK = Task(name="images", input_shape=(3, 32, 32), num_classes=10, num_train=1, num_validation=0, num_test=1)
DIGITS = replace(TASK, input_shape=(1, 8, 8))

HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"
INITIAL = (
    HEAD
    + """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 1, 1)
        self.fc1 = nn.Linear(1024, 1024)
        self.fc2 = nn.Linear(1024, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
"""
)
LENET = (
    HEAD
    + """class LeNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=(5, 5), padding='same'),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 5),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((2, 2)),
        )
        self.fc1 = nn.Linear(4 * 2 * width, 84)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(84, 10)

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        out = self.drop(torch.relu(self.fc1(out)))
        return F.log_softmax(self.head(out), dim=1)
"""
)
OTHER = (
    HEAD
    + """class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 7, padding=3)
        self.inner = nn.Conv2d(24, 24, 3, padding=1)
        self.hidden = nn.Linear(24, 48)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 2)
        x += F.relu(self.inner(x))
        x = x.mean(dim=(2, 3))
        return self.head(F.gelu(self.hidden(x)))
"""
)
#: Understood by PyTorch, not (or not whole) by us: loops, helpers, concatenations, attention, inheritance.
FOREIGN = {
    "loop": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(3072, 10)

    def forward(self, images):
        for layer in self.layers:
            images = F.relu(layer(images), inplace=True)
        return self.head(images.flatten(1))
""",
    "helper": """class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return F.relu(self.conv(x)) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        \"\"\"Classify, with an escape \\d.\"\"\"
        x = self.act(self.block(x))
        return self.head(x.mean(dim=(2, 3)))
""",
    "concatenation": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.cat([self.a(x), self.b(x)], 1)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
""",
    "attention": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, stride=4)
        self.encoder = nn.TransformerEncoderLayer(16, 2, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.encoder(x).mean(1))
""",
    "no classifier": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3)

    def forward(self, x):
        x = F.gelu(self.conv(x))
        return x.mean((2, 3))
""",
    "odd": """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 0, 3, stride=0)

    def forward(self, *xs):
        return xs
""",
    "no constructor": "class Net(nn.Module):\n    def forward(self, x):\n        return x\n",
    "no network": "x = 1\n",
    "no Python": "class Net(nn.Module:\n",
}


def ask(prompt_id, *parents, temperature=0.5, seed=1, task=TASK):
    prompt = next(prompt for prompt in (*MUTATION, CROSSOVER) if prompt.id == prompt_id)
    return request_for(prompt, *(parents or (INITIAL,)), task=task, temperature=temperature, seed=seed)


async def write(*arguments, **options):
    return (await OfflineRewriter().complete(ask(*arguments, **options))).text


def read(source, task=TASK):
    return read_network(find_network(parse(source)), task.input_shape, task.num_classes)


def count(source, kind, task=TASK):
    return sum(isinstance(step, kind) for step in walk(read(source, task)))


def widths(source):
    return [layer.out for layer in layers(read(source))]


async def lineage(task, seed, num_generations=30):
    """Yield parent and child along a chain of mixed prompts and temperatures."""
    source = INITIAL if task is TASK else await write("improve", "", task=task, seed=seed)
    for number in range(num_generations):
        prompt = MUTATION[(seed + 7 * number) % len(MUTATION)]
        temperature = 0.1 + 0.9 * (number % 10) / 9
        child = await write(prompt.id, source, temperature=temperature, seed=seed + number, task=task)
        yield source, child
        source = child


async def test_same_request_gives_the_same_text():
    first = [await write("improve", temperature=0.9, seed=seed) for seed in range(5)]
    second = [await write("improve", temperature=0.9, seed=seed) for seed in range(5)]

    assert first == second
    assert len(set(first)) == 5


async def test_completion_says_who_wrote_it():
    completion = await OfflineRewriter().complete(ask("improve"))

    assert (completion.writer, completion.model) == ("offline", "rewriter")


@pytest.mark.parametrize(
    ("prompt_id", "kind"),
    [
        ("add-layer", Conv | Dense),
        ("add-dense", Dense),
        ("add-convolution", Conv),
        ("add-pooling", Pool),
        ("add-residual", Residual),
        ("add-dropout", Dropout),
        ("add-normalisation", Norm),
        ("add-recurrent", Recurrent),
    ],
)
async def test_addition_shows_in_the_tree(prompt_id, kind):
    for seed in range(12):
        child = await write(prompt_id, LENET, seed=seed)

        # A global pooling is a pooling too.
        extra = child.count("adaptive_avg_pool2d") if kind is Pool else 0
        assert count(child, kind) + extra > count(LENET, kind)


async def test_several_residuals_are_at_least_two():
    assert count(await write("add-residuals"), Residual) >= 2


async def test_removal_leaves_one_layer_fewer():
    for seed in range(8):
        child = await write("remove-layer", LENET, seed=seed)

        assert len(widths(child)) == len(widths(LENET)) - 1


async def test_removal_from_a_bare_classifier_changes_something_else():
    bare = HEAD + (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(3072, 10)\n\n    def forward(self, x):\n"
        "        return self.fc(torch.flatten(x, 1))\n"
    )

    assert read(await write("remove-layer", bare)) != read(bare)


async def test_widening_raises_and_shrinking_lowers_the_widths():
    for seed in range(8):
        wider = await write("widen", LENET, seed=seed, temperature=0.1)
        narrower = await write("shrink", LENET, seed=seed, temperature=0.1)

        assert sum(widths(wider)) > sum(widths(LENET)) > sum(widths(narrower))
        assert len(widths(wider)) == len(widths(LENET)) == len(widths(narrower))


async def test_changed_activation_keeps_the_layers():
    child = await write("change-activation", LENET, temperature=0.1)

    assert widths(child) == widths(LENET)
    functions = [{s.function for s in read(source) if isinstance(s, Activation)} for source in (child, LENET)]
    assert functions[0] != functions[1]


async def test_drastic_prompts_change_the_cost_drastically():
    parent = measure(read(LENET), TASK.input_shape)
    for seed in range(8):
        small = await write("improve-and-shrink", LENET, seed=seed)
        large = await write("improve-and-grow", LENET, seed=seed)

        assert measure(read(small), TASK.input_shape).num_parameters < 0.75 * parent.num_parameters
        assert measure(read(large), TASK.input_shape).num_parameters > 1.2 * parent.num_parameters


async def test_crossover_has_layers_of_both_parents():
    mine, theirs = {"conv1", "fc1", "fc2"}, {"stem", "inner", "hidden", "head"}
    for seed in range(20):
        child = await write("crossover", INITIAL, OTHER, seed=seed)
        names = {layer.name for layer in layers(read(child))}

        assert names & mine
        assert names & theirs


async def test_crossover_of_a_single_parent_still_changes_it():
    assert read(await write("crossover", INITIAL)) != read(INITIAL)


async def test_freedom_grows_with_temperature():
    def difference(child):
        return abs(len(child.splitlines()) - len(LENET.splitlines())) + sum(
            abs(a - b) for a, b in zip(sorted(widths(child)), sorted(widths(LENET)), strict=False)
        )

    calm = [difference(await write("widen", LENET, temperature=0.05, seed=s)) for s in range(20)]
    bold = [difference(await write("widen", LENET, temperature=1.0, seed=s)) for s in range(20)]

    assert sum(bold) > 1.5 * sum(calm)


@pytest.mark.parametrize("task", [TASK, DIGITS], ids=["images", "digits"])
async def test_offspring_are_read_back_within_limits(task):
    """A child that its own rewriter does not understand would end its lineage's variety."""
    limits = SizeLimits.for_shape(task.input_shape).times(3)
    for seed in (1, 2, 3):
        async for parent, child in lineage(task, seed):
            chain = read(child, task)

            assert child != parent
            assert end(chain, task.input_shape) == (10,)
            assert not limits.excess(measure(chain, task.input_shape))
            assert print_network(chain, task.input_shape, find_network(parse(child)).name) == child


async def test_offspring_spread_over_the_archive():
    sizes = [
        measure(read(child), TASK.input_shape) for seed in (1, 2, 3) async for _, child in lineage(TASK, seed)
    ]

    assert min(size.flops for size in sizes) < 1e6
    assert max(size.flops for size in sizes) > 1e7
    assert min(size.depth for size in sizes) <= 4
    assert max(size.depth for size in sizes) >= 15


@pytest.mark.parametrize("style", FOREIGN)
@pytest.mark.parametrize("prompt", [*MUTATION, CROSSOVER], ids=lambda prompt: prompt.id)
async def test_foreign_source_gets_a_changed_network(style, prompt):
    foreign = HEAD + FOREIGN[style]

    child = await write(prompt.id, foreign)

    assert find_network(ast.parse(child)).name == "Net"
    assert child != ast.unparse(parse(foreign)) if "Python" not in style else child


async def test_network_that_is_asked_for_afresh_is_one_of_many_far_from_its_parent():
    afresh = Prompt(id="variant:sample", kind=PromptKind.MUTATION, text="Draw a network afresh.")
    made = []
    for seed in range(40):
        request = request_for(afresh, INITIAL, seed=seed, task=TASK)
        made.append((await OfflineRewriter().complete(request)).text)

    chains = [read(source) for source in made]
    costs = sorted(measure(chain, TASK.input_shape).flops for chain in chains)
    assert len(set(made)) >= 38
    assert max(len(list(layers(chain))) for chain in chains) >= 8
    assert costs[-4] > 10 * costs[4]


async def test_change_in_one_place_is_of_any_kind():
    prompt = Prompt(id="variant:change", kind=PromptKind.MUTATION, text="Change it in one place.")
    parent = print_network(read(INITIAL), TASK.input_shape)
    grown = set()
    for seed in range(60):
        text = (await OfflineRewriter().complete(request_for(prompt, parent, seed=seed))).text
        grown.add(count(text, Dropout) > 0)
        grown.add("residual" if count(text, Residual) else "plain")
        assert text != parent

    assert grown == {True, False, "residual", "plain"}


async def test_crossover_with_a_foreign_parent_edits_the_one_that_is_understood():
    child = await write("crossover", HEAD + FOREIGN["loop"], LENET)

    assert find_network(ast.parse(child)).name == "LeNet"


def test_equal_layers_beside_each_other_stay_two():
    source = HEAD + (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Conv2d(3, 8, 3, padding=1)\n"
        "        self.b = nn.Conv2d(3, 8, 3, padding=1)\n"
        "        self.head = nn.Linear(8, 10)\n\n    def forward(self, x):\n"
        "        x = self.a(x) + self.b(x)\n        return self.head(x.mean((2, 3)))\n"
    )

    (residual, *_) = read(source)

    assert isinstance(residual, Residual)
    assert len(residual.body) == len(residual.shortcut) == 1


def test_costs_are_those_of_the_layers():
    size = measure(read(INITIAL), TASK.input_shape)

    assert size.num_parameters == 4 + 1024 * 1024 + 1024 + 10240 + 10
    assert size.flops == 3 * 1024 + 1024 * 1024 + 10240
    assert size.depth == 3


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_group_normalisation_never_sees_single_values(channels):
    """torch refuses a group of one value, and its output would always be 0."""
    assert channels // norm_groups((channels, 1, 1)) >= min(channels, 4)
    with pytest.raises(Misfit):
        end((Norm(kind="group"),), (1, 1, 1))


def test_shipped_ids_are_intentions():
    assert {prompt.id for prompt in MUTATION} == {intent.value for intent in Intent}


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Delete the convolution that does least", Intent.REMOVE_LAYER),
        ("use an LSTM on top", Intent.ADD_RECURRENT),
        ("add skip connections", Intent.ADD_RESIDUALS),
        ("make it drastically smaller", Intent.IMPROVE_AND_SHRINK),
        ("add a convolution", Intent.ADD_CONVOLUTION),
        ("more channels, please", Intent.WIDEN),
        ("surprise me", Intent.IMPROVE),
    ],
)
def test_words_tell_the_intention_of_an_unknown_prompt(text, intent):
    assert intent_of("my-own", text) is intent


async def test_unknown_prompt_changes_the_network():
    prompt = Prompt(id="my-own", kind=PromptKind.MUTATION, text="surprise me")

    completion = await OfflineRewriter().complete(replace(ask("improve"), prompt=prompt))

    assert read(completion.text) != read(INITIAL)


def test_rewriter_does_not_import_torch():
    code = "import sys, llmatic_daemon.adapters.rewriter.writer; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("offspring", "generations"), sampled([(12, 6), (40, 15)], [(12, 6)]))
def test_offspring_build_learn_and_export(offspring: int, generations: int):
    """In a process of its own: the daemon, and so the tests of its side, never import torch."""
    script = ROOT / "tests" / "benchmarks" / "bench_offline.py"
    command = [sys.executable, str(script), "--offspring", str(offspring), "--generations", str(generations)]
    command += ["--seed", "7", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    report = json.loads(result.stdout)
    assert report["lifted"] >= 0.9, report["faults"]
