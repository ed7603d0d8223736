# what: loops when it is thrown away
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn

class Bomb:
    def __del__(self):
        while True:
            pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.kept = Bomb()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
