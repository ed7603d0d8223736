# what: 1,500 folders, one in the other: too deep for a recursive clean-up
# kind: resources
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        here = os.open(".", os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        os.fchdir(here)
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
