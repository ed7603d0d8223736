# what: aborts its own process
# kind: cheating
# ends: sandbox
# says: SIGABRT
# violates: killed
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        torch.os.abort()

    def forward(self, x):
        return self.f(x.flatten(1))
