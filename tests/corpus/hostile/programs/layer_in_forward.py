# what: makes a layer in forward: noise that nobody trains
# kind: cheating
# ends: lift_failed
# says: must be made in __init__|inside forward
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return nn.Linear(10, 10)(self.f(x.flatten(1)))
