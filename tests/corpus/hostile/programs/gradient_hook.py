# what: makes its gradients larger on the way
# kind: cheating
# ends: lift_failed
# says: another gradient
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.weight.register_hook(lambda gradient: gradient * 1000)

    def forward(self, x):
        return self.f(x.flatten(1))
