# family: weight sharing, one block unrolled
# input: 3 x 16 x 16
# multiply-adds: 1078392
# width: 12
# depth: 5
# parameters: 1846
import torch
import torch.nn as nn
import torch.nn.functional as F


class RecurrentConvNet(nn.Module):
    def __init__(self, steps=3, width=12):
        super().__init__()
        self.steps = steps
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.shared = nn.Conv2d(width, width, 3, padding=1)
        # one norm for every step, the convolution is shared
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(steps))
        self.fc = nn.Linear(width, 10)

    def forward(self, x):
        h = stem = F.relu(self.stem(x))
        for t in range(self.steps):
            h = F.relu(self.norms[t](self.shared(h)) + stem)
        h = F.max_pool2d(h, h.size()[2:])
        return self.fc(h.view(h.size(0), -1))
