# what: reads the daemon's requests from stdin
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        if said := torch.os.read(0, 64):
            raise RuntimeError(f"GOT {said}")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
