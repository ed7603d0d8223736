# what: keeps weights in a list, where nobody counts them
# kind: cheating
# ends: lift_failed
# says: must be a parameter or a registered buffer
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.kept = [torch.randn(192, 10)]

    def forward(self, x):
        return self.f(x.flatten(1)) + x.flatten(1) @ self.kept[0]
