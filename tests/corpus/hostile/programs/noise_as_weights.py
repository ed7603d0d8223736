# what: has weights that are others each time it is made
# kind: cheating
# ends: lifted
# parameters: 1930
# stopped by: plausibility

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        noise = np.frombuffer(torch.os.urandom(7680), np.uint32).astype(np.float32) / 2**32
        self.f.weight.data = torch.from_numpy(noise.reshape(10, 192)) * 0.01

    def forward(self, x):
        return self.f(x.flatten(1))
