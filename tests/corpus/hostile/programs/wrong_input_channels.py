# what: expects one channel
# kind: bugs
# ends: lift_failed
# says: 1 channels
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 10, 8)

    def forward(self, x):
        return self.c(x).flatten(1)
