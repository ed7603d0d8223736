# what: leaves a module named torch in its own folder
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp rlimits

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
