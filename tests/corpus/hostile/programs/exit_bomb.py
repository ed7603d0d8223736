# what: loops when the interpreter ends
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn

def loop():
    while True:
        pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        __import__("atexit").register(loop)
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
