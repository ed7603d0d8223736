# what: raises something that cannot be told
# kind: cheating
# ends: sandbox
# stopped by: process

import torch
from torch import nn

class Untold(Exception):
    def __str__(self):
        raise Untold


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        raise Untold

    def forward(self, x):
        return self.f(x.flatten(1))
