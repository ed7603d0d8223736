# family: spectral normalisation
# does not lift: forward must not switch gradients on or off
# input: 3 x 8 x 8
import torch
import torch.nn as nn


class SNNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.utils.spectral_norm(nn.Conv2d(3, 8, 3, 2, 1))
        self.fc = nn.utils.spectral_norm(nn.Linear(8 * 16, 10))

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))
