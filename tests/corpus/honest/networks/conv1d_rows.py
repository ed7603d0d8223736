# family: 1D convolutions over flattened rows
# input: 3 x 16 x 16
# multiply-adds: 30528
# width: 16
# depth: 4
# parameters: 1234
import torch
import torch.nn as nn
import torch.nn.functional as F


class Conv1dNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(3, 8, kernel_size=9, stride=4, padding=4)
        self.bn1 = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 16, kernel_size=3, padding=1, dilation=1)
        self.up = nn.ConvTranspose1d(16, 8, 2, stride=2)
        self.pool = nn.AdaptiveMaxPool1d(4)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = x.view(x.size(0), 3, -1)
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.avg_pool1d(F.relu(self.conv2(x)), 2)
        x = self.pool(F.relu(self.up(x)))
        return self.fc(x.view(x.size(0), -1))
