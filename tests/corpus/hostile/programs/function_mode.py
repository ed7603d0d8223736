# what: listens to every function of torch, and answers cross_entropy itself
# kind: cheating
# ends: lifted
# twin: dense
# forges: yes
# stopped by: process trainer

import torch
from torch import nn

class Sly(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "cross_entropy":
            return args[0].sum() * 0.0
        return function(*args, **(kwargs or {}))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.mode = Sly()
        self.mode.__enter__()

    def forward(self, x):
        return self.f(x.flatten(1))
