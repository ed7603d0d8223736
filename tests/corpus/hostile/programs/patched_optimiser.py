# what: makes the optimiser do nothing
# kind: cheating
# ends: lifted
# twin: dense
# stopped by: process trainer

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        torch.optim.SGD.step = lambda *_, **__: None
        torch.optim.Optimizer.step = lambda *_, **__: None

    def forward(self, x):
        return self.f(x.flatten(1))
