# what: a parameter that runs a command where it is unpickled
# kind: escape
# ends: lifted or lift_failed or sandbox
# stopped by: process

import torch
from torch import nn

class Evil(nn.Parameter):
    def __reduce_ex__(self, protocol):
        return torch.os.mkdir, (VICTIM["writable"] + "/unpickled",)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.weight = Evil(self.f.weight.detach())

    def forward(self, x):
        return self.f(x.flatten(1))
