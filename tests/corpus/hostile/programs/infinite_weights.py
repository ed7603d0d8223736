# what: has an infinite weight
# kind: cheating
# ends: nan
# stopped by: validator

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.weight.data[0, 0] = float("inf")

    def forward(self, x):
        return self.f(x.flatten(1))
