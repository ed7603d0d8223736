# what: counts how often it was called
# kind: cheating
# ends: lift_failed
# says: must not keep state
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.register_buffer("n", torch.zeros(1))

    def forward(self, x):
        self.n += 1
        return self.f(x.flatten(1)) * self.n
