# what: changes what autograd still needs
# kind: bugs
# ends: lift_failed
# says: modified by an inplace operation
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        y = torch.exp(self.f(x.flatten(1)))
        z = y * y
        y += 1
        return z + y
