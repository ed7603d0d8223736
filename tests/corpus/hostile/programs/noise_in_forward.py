# what: answers at random
# kind: cheating
# ends: lift_failed
# says: randn
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1)) + torch.randn(10)
