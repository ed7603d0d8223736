# family: lazy layers
# multiply-adds: 472384
# width: 32
# depth: 4
# parameters: 26858
import torch
import torch.nn as nn
import torch.nn.functional as F


class LazyNet(nn.Module):
    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1 = nn.LazyConv2d(8, kernel_size=3, padding=1)
        self.bn1 = nn.LazyBatchNorm2d()
        self.conv2 = nn.LazyConv2d(16, kernel_size=3)
        self.fc1 = nn.LazyLinear(32)
        self.fc2 = nn.LazyLinear(num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)
