"""Completions as LLMs write them, each with what must become of it: a network, or a cause.

Base models (CodeGen) run on, repeat the prompt and stop in half a line; chat models, small and
large, talk, fence, show the old network first and explain themselves. The texts are written after
theirs, mistakes included.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llmatic_daemon.domain import Outcome
from llmatic_daemon.search.operators import initial_source
from tests.support.fakes import TASK

PARENT = initial_source(TASK)
IMPORTS = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
PROMPT = '"""\nAdd a layer to the network above.\n"""\n'

WIDE = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 1024, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
"""
DEEP = """\
class DeepNet(nn.Module):
    def __init__(self):
        super(DeepNet, self).__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))

    def forward(self, x):
        return self.layers(x)
"""
SWISH = """\
class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)
"""
BLOCK = """\
class ResidualBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        return F.relu(self.conv(x) + self.shortcut(x))
"""
RESNET = """\
class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = ResidualBlock(3, 16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.block(x).mean((2, 3))
        return self.fc(x)
"""
SWISHED = WIDE.replace("F.relu(self.conv1(x))", "Swish()(self.conv1(x))")
TRAIN = """\
def train(model, loader, epochs=10):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
"""
MAIN = """\
if __name__ == "__main__":
    model = Net()
    print(model(torch.randn(1, 3, 32, 32)).shape)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One completion, and what reading it must give."""

    name: str
    #: A function for what is too long to stand here.
    text: str | Callable[[], str]
    #: The network's class, or the cause of the rejection.
    expected: str | Outcome
    #: Names that the source defines, imports aside, in their order; None: the class alone.
    defined: tuple[str, ...] | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    finish_reason: str = "stop"
    parents: tuple[str, ...] = (PARENT,)

    @property
    def content(self) -> str:
        """The text itself."""
        return self.text if isinstance(self.text, str) else self.text()


def fenced(code: str, language: str = "python", fence: str = "```") -> str:
    return f"{fence}{language}\n{code}{fence}\n"


def indented(code: str, by: str = "    ") -> str:
    return "".join(by + line if line.strip() else line for line in code.splitlines(keepends=True))


def before(code: str, mark: str) -> str:
    """Cut a code as the token limit does: right before a mark in it."""
    return code[: code.index(mark)]


CODEGEN = (
    Case(name="codegen-class-alone", text="\n\n" + WIDE, expected="Net", has=("import torch\n",)),
    Case(name="codegen-imports-again", text=IMPORTS + "\n\n" + WIDE, expected="Net"),
    Case(name="codegen-second-class", text=f"{WIDE}\n\n{DEEP}", expected="Net", lacks=("DeepNet",)),
    Case(name="codegen-main-block", text=f"{WIDE}\n\n{MAIN}", expected="Net", lacks=("__main__",)),
    Case(
        name="codegen-training-loop",
        text=f"{WIDE}\n\n{TRAIN}\n\nnet = Net()\ntrain(net, None)\n",
        expected="Net",
        lacks=("optim",),
    ),
    Case(
        name="codegen-next-exercise",
        text=f'{WIDE}\n\n"""\nNow add dropout to the network above.\n"""\n\n{DEEP}',
        expected="Net",
        lacks=("dropout", "DeepNet"),
    ),
    Case(
        name="codegen-half-line-after-class",
        text=f"{WIDE}\n\nclass Net2(nn.Mod",
        expected="Net",
        finish_reason="length",
    ),
    Case(
        name="codegen-half-second-class",
        text=f"{WIDE}\n\n" + before(DEEP, "layers(x)"),
        expected="Net",
        lacks=("DeepNet",),
        finish_reason="length",
    ),
    Case(
        name="codegen-half-docstring-after-class",
        text=f'{WIDE}\n\n"""\nAdd a pooling layer to the net',
        expected="Net",
        finish_reason="length",
    ),
    Case(
        name="codegen-closes-the-prompts-docstring",
        text=f'The class is called Net.\n"""\n\n{WIDE}\n"""Write another class."""\n\n{DEEP}',
        expected="Net",
        lacks=("DeepNet",),
    ),
    Case(
        name="codegen-closes-it-and-documents-its-class",
        text='"""\n\n' + WIDE.replace(":\n", ':\n    """A wider network."""\n', 1),
        expected="Net",
        has=("A wider network.",),
    ),
    Case(name="codegen-rest-of-a-line-first", text=f" with 16 channels.\n\n{WIDE}", expected="Net"),
    Case(
        name="codegen-rest-of-a-method-first",
        text=f"        x = self.fc1(x)\n        return x\n\n\n{DEEP}",
        expected="DeepNet",
    ),
    Case(
        name="codegen-inherits-from-the-parents-class",
        text="class Better(Net):\n    def forward(self, x):\n        return 2 * super().forward(x)\n",
        expected="Better",
        defined=("Net", "Better"),
    ),
    Case(
        name="codegen-uses-the-parents-helper",
        text=RESNET,
        expected="ResNet",
        defined=("ResidualBlock", "ResNet"),
        parents=(IMPORTS + BLOCK + RESNET.replace("16", "8"),),
    ),
    Case(
        name="codegen-comments-only",
        text="# TODO: add a layer\n# TODO: add a layer\n" * 20,
        expected=Outcome.NOT_CODE,
    ),
    Case(
        name="codegen-one-word-again-and-again",
        text="layer " * 400,
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="codegen-same-line-again-and-again",
        text=before(WIDE, "        self.fc1") + "        self.fc1 = nn.Linear(64, 64)\n" * 90,
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(name="codegen-training-loop-alone", text=TRAIN, expected=Outcome.NO_CLASS),
    Case(name="codegen-end-of-text-at-once", text="\n", expected=Outcome.NOT_CODE),
    Case(
        name="codegen-license-header",
        text="# Copyright (c) 2020, Ünal & Söhne. All rights reserved.\n" + IMPORTS + WIDE,
        expected="Net",
        lacks=("Copyright",),
    ),
    Case(
        name="codegen-python-2-print-after-class",
        text=f"{WIDE}\nprint 'done'\nprint 'really'\n",
        expected="Net",
    ),
    Case(name="codegen-closing-brackets-without-end", text=WIDE + "\nx = " + ")" * 3000, expected="Net"),
    Case(name="codegen-minus-signs-without-end", text=WIDE + "\nx = " + "-" * 3000 + "1\n", expected="Net"),
    Case(
        name="codegen-helper-defined-behind",
        text=WIDE.replace("return self", "return scaled(self")[:-1]
        + ")\n\n\ndef scaled(x):\n    return x * SCALE\n\n\nSCALE: float = 0.5\n",
        expected="Net",
        defined=("scaled", "SCALE", "Net"),
    ),
)

ECHOES = (
    Case(
        name="echo-whole-prompt-in-front",
        text=PARENT + PROMPT + "\n\n" + WIDE,
        expected="Net",
        has=("3, 16, 3",),
    ),
    Case(
        name="echo-of-two-parents",
        text=f"{PARENT}\n\n{DEEP}\n{PROMPT}\n{WIDE}",
        expected="Net",
        has=("3, 16, 3",),
        parents=(PARENT, IMPORTS + DEEP),
    ),
    Case(name="echo-alone-is-kept", text=PARENT, expected="Net", has=("3, 1, 1",)),
    Case(
        name="echo-with-other-comments",
        text="# The given network:\n" + PARENT.replace("x)\n", "x)  # as before\n") + "\n" + DEEP,
        expected="DeepNet",
    ),
    Case(
        name="echo-fenced-then-improved",
        text=f"The original:\n\n{fenced(PARENT)}\nImproved:\n\n{fenced(WIDE)}",
        expected="Net",
        has=("3, 16, 3", "import functional as F"),
    ),
    Case(
        name="echo-in-the-same-fence",
        text=fenced(f"# before\n{PARENT}\n# after\n{DEEP}"),
        expected="DeepNet",
        lacks=("after",),
    ),
    Case(
        name="echo-around-a-new-activation",
        text=IMPORTS + SWISH.replace("sigmoid", "tanh") + "\n\n" + SWISHED,
        expected="Net",
        defined=("Swish", "Net"),
        has=("tanh",),
        parents=(IMPORTS + SWISH + SWISHED,),
    ),
    Case(
        name="echo-with-its-old-helper-then-both-new",
        text=IMPORTS
        + SWISH
        + SWISHED
        + PROMPT
        + SWISH.replace("sigmoid", "tanh")
        + DEEP.replace("nn.Linear", "Swish(), nn.Linear"),
        expected="DeepNet",
        defined=("Swish", "DeepNet"),
        has=("tanh",),
        lacks=("sigmoid",),
        parents=(IMPORTS + SWISH + SWISHED,),
    ),
    Case(
        name="echo-then-cut",
        text=PARENT + PROMPT + before(DEEP, "layers(x)"),
        expected="Net",
        has=("3, 1, 1",),
        finish_reason="length",
    ),
    Case(
        name="echo-of-the-prompt-without-an-answer",
        text="Write a class that inherits from nn.Module and improves the network above.",
        expected=Outcome.NOT_CODE,
    ),
)

CHATS = (
    Case(
        name="chat-one-fence",
        text=f"Sure! Here's the improved network:\n\n{fenced(IMPORTS + WIDE)}\nIt is wider.",
        expected="Net",
    ),
    Case(name="chat-fence-without-language", text=fenced(WIDE, ""), expected="Net"),
    Case(name="chat-py-in-capitals", text=fenced(WIDE, "Py title=net.py"), expected="Net"),
    Case(name="chat-tildes", text=fenced(WIDE, " python", "~~~"), expected="Net"),
    Case(
        name="chat-four-backticks-around-three",
        text=fenced(f"# Answer\n{fenced(WIDE)}", "markdown", "````"),
        expected="Net",
    ),
    Case(
        name="chat-fence-in-a-list-item",
        text="1. Widen it:\n\n" + indented(fenced(IMPORTS + WIDE), "   ") + "\n2. Train it.\n",
        expected="Net",
    ),
    Case(
        name="chat-fence-on-a-bullet", text="- ```python\n" + indented(WIDE, "  ") + "  ```\n", expected="Net"
    ),
    Case(
        name="chat-fence-glued-to-the-last-line",
        text=f"```python\n{WIDE.rstrip()}```\n\nThis network is wider.",
        expected="Net",
        lacks=("`",),
    ),
    Case(
        name="chat-fence-never-closed",
        text=f"```python\n{IMPORTS}{WIDE}\n# This network is wider.\n",
        expected="Net",
    ),
    Case(
        name="chat-fence-opened-by-the-prompt",
        text=f"{WIDE}```\n\nI widened it. Don't forget to train:\n\n{fenced('net = Net()')}",
        expected="Net",
    ),
    Case(
        name="chat-install-then-code", text=fenced("pip install torch", "bash") + fenced(WIDE), expected="Net"
    ),
    Case(
        name="chat-json-and-diff-then-code",
        text=fenced('{"width": 16}', "json")
        + fenced("- class Net(nn.Module):\n+ class Net(nn.Module):\n", "diff")
        + fenced(DEEP),
        expected="DeepNet",
    ),
    Case(
        name="chat-diff-alone",
        text="Apply this:\n" + fenced("@@ -3 +3 @@\n-        self.a = 1\n+        self.a = 2\n", "diff"),
        expected=Outcome.NOT_CODE,
    ),
    Case(
        name="chat-imports-block-and-class",
        text="First:\n"
        + fenced("import torch.nn as nn\nimport math\nWIDTH = 32\n")
        + "Then:\n"
        + fenced(WIDE.replace("16", "WIDTH")),
        expected="Net",
        defined=("WIDTH", "Net"),
        has=("import torch.nn as nn",),
        lacks=("math",),
    ),
    Case(
        name="chat-helper-block-then-network",
        text=f"A block:\n{fenced(IMPORTS + BLOCK)}The network:\n{fenced(RESNET)}",
        expected="ResNet",
        defined=("ResidualBlock", "ResNet"),
    ),
    Case(
        name="chat-two-alternatives",
        text=f"Option A:\n{fenced(WIDE)}\nOption B:\n{fenced(DEEP)}",
        expected="Net",
        lacks=("DeepNet",),
    ),
    Case(
        name="chat-sketch-with-dots-then-code",
        text=fenced("class Net(nn.Module):\n    def __init__(self, ...):\n        ...\n") + fenced(DEEP),
        expected="DeepNet",
    ),
    Case(
        name="chat-usage-after-code",
        text=fenced(WIDE) + "Usage:\n" + fenced(TRAIN + "train(Net(), loader)\n"),
        expected="Net",
        lacks=("train",),
    ),
    Case(
        name="chat-prose-without-a-fence",
        text=f"Here is the class; it's wider.\n\n{IMPORTS}\n{WIDE}\nThis model has more channels,\n"
        "so it doesn't underfit (see above).\n",
        expected="Net",
        lacks=("underfit",),
    ),
    Case(
        name="chat-prose-that-begins-like-code",
        text=f"from the network above I keep fc1.\nclass names stay.\nimport both:\n\n{WIDE}",
        expected="Net",
    ),
    Case(
        name="chat-long-explanation-behind",
        text=WIDE + "\n" + "This layer isn't needed; we don't use it (yet).\n" * 60,
        expected="Net",
    ),
    Case(
        name="chat-thoughts-with-a-draft",
        text=f"<think>\nMaybe\n{fenced(DEEP)}No, wider.\n</think>\n\n{fenced(WIDE)}",
        expected="Net",
    ),
    Case(
        name="chat-docstring-with-a-fence-in-it",
        text=fenced(
            WIDE.replace(":\n", ':\n    """Wide.\n\n    ```python\n    net = Net()\n    ```\n    """\n', 1)
        ),
        expected="Net",
        has=("net = Net()",),
    ),
    Case(
        name="chat-refusal", text="I'm sorry, but I can't help with that request.", expected=Outcome.NOT_CODE
    ),
    Case(
        name="chat-advice-without-code",
        text="You could:\n\n1. **Widen** it.\n2. Use `nn.Dropout(0.5)`.\n\nclass imbalance may matter.",
        expected=Outcome.NOT_CODE,
    ),
    Case(
        name="chat-class-without-module",
        text=fenced("class Net:\n    def forward(self, x):\n        return x\n"),
        expected=Outcome.NO_CLASS,
    ),
    Case(
        name="chat-tensorflow",
        text=fenced("import tensorflow as tf\n\nclass Net(tf.keras.Model):\n    pass\n"),
        expected=Outcome.NO_CLASS,
    ),
    Case(name="chat-network-that-needs-arguments", text=fenced(BLOCK), expected=Outcome.NO_CLASS),
    Case(
        name="chat-network-that-uses-os",
        text=fenced("import os\n" + WIDE.replace("64, 10", "64, int(os.environ['N'])")),
        expected=Outcome.NO_CLASS,
    ),
    Case(
        name="chat-annotations-of-the-future",
        text=fenced(
            "from __future__ import annotations\nimport torch\n" + WIDE.replace("x):", "x: Tensor):")
        ),
        expected="Net",
        has=("from __future__ import annotations\n",),
    ),
    Case(
        name="chat-a-hundred-fences-of-nothing", text=lambda: fenced("") * 90 + fenced(WIDE), expected="Net"
    ),
)

CUTS = (
    Case(
        name="cut-in-forward",
        text=IMPORTS + before(WIDE, "torch.flatten"),
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="cut-behind-init",
        text=IMPORTS + before(WIDE, "    def forward"),
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="cut-in-the-returned-name",
        text=before(WIDE, "2(x)\n"),
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(name="cut-right-behind-the-return", text=WIDE, expected="Net", finish_reason="length"),
    Case(
        name="cut-in-a-later-method",
        text=WIDE + "\n    def num_flat_features(self, x):\n        size = x.size()[1:]\n        num",
        expected="Net",
        lacks=("num_flat_features",),
        finish_reason="length",
    ),
    Case(
        name="cut-in-a-later-methods-name",
        text=WIDE + "\n    @property\n    def num_fl",
        expected="Net",
        lacks=("property",),
        finish_reason="length",
    ),
    Case(
        name="cut-in-a-later-method-that-forward-calls",
        text=WIDE.replace("F.relu(self.conv1(x))", "self.features(x)")
        + "\n    def features(self, x):\n        x = self.conv1(x)\n        x = F.",
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="cut-in-init-behind-forward",
        text="class Net(nn.Module):\n    def forward(self, x):\n        return self.fc(x)\n\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Lin",
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="cut-before-else",
        text="class Net(nn.Module):\n    def forward(self, x):\n        if self.training:\n"
        "            return x\n        els",
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="cut-behind-both-branches",
        text="class Net(nn.Module):\n    def forward(self, x):\n        if self.training:\n"
        "            return x\n        else:\n            return 2 * x\n\n    ",
        expected="Net",
        finish_reason="length",
    ),
    Case(
        name="cut-in-a-fence",
        text="Here you go:\n```python\n" + IMPORTS + DEEP + "\n    def extra_repr(self):\n        retu",
        expected="DeepNet",
        lacks=("extra_repr",),
        finish_reason="length",
    ),
    Case(
        name="cut-in-the-explanation",
        text=fenced(WIDE) + "The class Net is wi",
        expected="Net",
        finish_reason="length",
    ),
    Case(
        name="cut-in-a-methods-docstring",
        text=WIDE + '\n    def reset(self):\n        """Forget all\n\n    the',
        expected="Net",
        lacks=("reset",),
        finish_reason="length",
    ),
    Case(
        name="cut-class-inherits-its-forward",
        text="class Wide(Net):\n    width = 16\n\n    def extra(self):\n        return 1\n\n    de",
        expected="Wide",
        defined=("Net", "Wide"),
        finish_reason="length",
    ),
    Case(
        name="stopped-in-forward-is-not-closed",
        text=IMPORTS + WIDE + "\n    def extra(self):\n        return (",
        expected=Outcome.NOT_CODE,
    ),
    Case(
        name="stopped-by-a-stop-word-behind-the-class",
        text=f"{WIDE}\n\n{before(DEEP, '(nn.Module)')}",
        expected="Net",
    ),
)

CHARACTERS = (
    Case(name="tabs", text=WIDE.replace("    ", "\t"), expected="Net", has=("\tdef",)),
    Case(
        name="tabs-and-spaces-mixed",
        text=WIDE.replace("        x = torch", "\tx = torch"),
        expected=Outcome.NOT_CODE,
    ),
    Case(name="crlf", text=fenced(IMPORTS + WIDE).replace("\n", "\r\n"), expected="Net", lacks=("\r",)),
    Case(name="cr", text=(IMPORTS + WIDE).replace("\n", "\r"), expected="Net", lacks=("\r",)),
    Case(name="byte-order-mark-and-nul", text="\ufeff" + WIDE + "\x00\x00", expected="Net"),
    Case(name="form-feeds", text=IMPORTS + "\x0c\n" + WIDE + "\x0c\n" + DEEP, expected="Net"),
    Case(name="whole-answer-is-indented", text=indented(IMPORTS + "\n" + WIDE + "\n" + DEEP), expected="Net"),
    Case(
        name="unicode-in-comments-and-names",
        text=WIDE.replace("self.fc2", "self.größe").replace("x = F", "# 宽度 → 16 🙂\n        x = F", 1),
        expected="Net",
        has=("宽度 → 16 🙂", "größe"),
    ),
    Case(name="no-break-spaces", text=WIDE.replace("    ", "\xa0" * 4), expected=Outcome.NOT_CODE),
    Case(
        name="zero-width-space-in-a-name",
        text=WIDE.replace("self.fc2", "self.fc\u200b2"),
        expected=Outcome.NOT_CODE,
    ),
    Case(name="typographic-quotes", text=WIDE + "\nprint(“done”)\n", expected="Net"),
    Case(
        name="lone-surrogate-in-a-comment",
        text=WIDE.replace("x = F", "# \ud83d\n        x = F", 1),
        expected="Net",
    ),
    Case(
        name="line-separators-are-no-lines",
        text=WIDE.replace("x = F", "# a\u2028b\x0bc\n        x = F", 1),
        expected="Net",
        has=("\u2028",),
    ),
    Case(
        name="hexadecimal-number-of-five-thousand-digits",
        text="SEED = 0x" + "f" * 5000 + "\n" + WIDE.replace("return ", "return SEED * "),
        expected="Net",
        defined=("SEED", "Net"),
    ),
)

LONG = (
    Case(name="long-five-megabytes", text=lambda: WIDE * 12_000, expected=Outcome.NOT_CODE),
    Case(
        name="long-five-megabytes-of-a-letter",
        text=lambda: "x" * 5_000_000,
        expected=Outcome.NOT_CODE,
        finish_reason="length",
    ),
    Case(
        name="long-prose-around-a-short-fence",
        text=lambda: "We'd rather think (a lot).\n" * 4000 + fenced(WIDE),
        expected="Net",
    ),
    Case(
        name="long-table-of-numbers",
        text=lambda: "TABLE = [" + "1," * 40_000 + "]\n" + WIDE,
        expected=Outcome.NOT_CODE,
    ),
    Case(name="long-lines-of-one-letter", text=lambda: WIDE + "a\n" * 32_000, expected=Outcome.NOT_CODE),
    Case(
        name="long-module-name", text=lambda: "from " + "a." * 30_000 + "\n" + WIDE, expected=Outcome.NOT_CODE
    ),
    Case(name="long-run-on-of-classes", text=lambda: WIDE * 140 + "\nclass Net(", expected="Net"),
    Case(name="long-run-on-of-prose-lines", text=lambda: WIDE + "Then we don't (\n" * 3000, expected="Net"),
)

CASES = CODEGEN + ECHOES + CHATS + CUTS + CHARACTERS + LONG
