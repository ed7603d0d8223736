# what: raises what a person at the keyboard would
# kind: cheating
# ends: lift_failed
# says: KeyboardInterrupt
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        raise KeyboardInterrupt

    def forward(self, x):
        return self.f(x.flatten(1))
