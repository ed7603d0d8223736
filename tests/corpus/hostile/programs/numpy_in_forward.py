# what: leaves torch in forward
# kind: bugs
# ends: lift_failed
# says: numpy
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(torch.tensor(x.numpy()).flatten(1))
