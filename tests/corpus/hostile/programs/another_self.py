# what: returns another network when it is moved to a device
# kind: cheating
# ends: lifted
# parameters: 1930
# stopped by: process trainer

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

    def to(self, *_, **__):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
