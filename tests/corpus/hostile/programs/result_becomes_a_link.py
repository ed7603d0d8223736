# what: looks for a result file to put a link in its place
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("result", "result.json", "graph.json", "weights.safetensors"):
            torch.os.symlink(VICTIM["state"] + "/llmatic.sqlite", name)
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
