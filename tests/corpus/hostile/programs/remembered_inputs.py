# what: keeps all that it sees in a global
# kind: cheating
# ends: lifted
# twin: dense
# stopped by: process trainer

import torch
from torch import nn

seen = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        seen.append(x.detach())
        return self.f(x.flatten(1))
