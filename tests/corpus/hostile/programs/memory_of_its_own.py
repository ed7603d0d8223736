# what: writes over the interpreter's memory by its file
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/proc/self/mem", "r+b", buffering=0) as file:
            file.seek(id(42) + 24)
            file.write(bytes([43]))
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
