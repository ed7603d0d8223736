# what: writes to the file that its source says it is from
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open(torch.sys.modules["candidate"].__file__, "w") as file:
            file.write("evil")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
