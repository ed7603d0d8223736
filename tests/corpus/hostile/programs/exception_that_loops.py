# what: raises something that takes for ever to be told
# kind: cheating
# ends: timeout
# stopped by: supervisor

import torch
from torch import nn

class Endless(Exception):
    def __str__(self):
        while True:
            pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        raise Endless

    def forward(self, x):
        return self.f(x.flatten(1))
