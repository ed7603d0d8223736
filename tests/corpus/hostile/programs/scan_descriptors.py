# what: looks for descriptors that somebody forgot to close
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for number in range(4, 256):
            try:
                found = torch.os.fstat(number)
            except OSError as error:
                if error.errno != 9:
                    raise
                continue
            raise RuntimeError(f"GOT descriptor {number}: {found}")
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
