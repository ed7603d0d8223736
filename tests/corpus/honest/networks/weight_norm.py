# family: weight normalisation by parametrizations
# input: 3 x 16 x 16
# by hand: a normalised weight is computed: 8 x 27 x 256 + 16 x 72 x 64 + 1024 x 10, v and g of each and biases
# multiply-adds: 139264
# width: 16
# depth: 3
# parameters: 11676
import torch
import torch.nn as nn
from torch.nn.utils.parametrizations import weight_norm


class WNNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = weight_norm(nn.Conv2d(3, 8, 3, padding=1))
        self.conv2 = weight_norm(nn.Conv2d(8, 16, 3, stride=2, padding=1))
        self.fc = weight_norm(nn.Linear(16 * 64, 10))
        self.act = nn.LeakyReLU(0.2)

    def forward(self, x):
        x = self.act(self.conv1(x))
        x = self.act(self.conv2(x))
        return self.fc(x.flatten(1))
