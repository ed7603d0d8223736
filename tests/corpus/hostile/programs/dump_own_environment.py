# what: looks for keys in its own environment, now and as it was inherited
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: user landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/proc/self/environ") as file:
            inherited = file.read()
        if "TOKEN" in inherited or any("TOKEN" in name for name in torch.os.environ):
            raise RuntimeError("GOT a token")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
