# what: says that it has no memory left
# kind: cheating
# ends: oom
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        raise MemoryError("GOOD")

    def forward(self, x):
        return self.f(x.flatten(1))
