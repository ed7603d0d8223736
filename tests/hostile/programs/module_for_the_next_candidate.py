# what: leaves a module named torch in its own folder
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("torch.py", "w") as file:
            file.write("raise SystemExit")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
