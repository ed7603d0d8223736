# family: dropouts of all kinds in a row
# input: 3 x 16 x 16
# multiply-adds: 248896
# width: 32
# depth: 4
# parameters: 28218
import torch
import torch.nn as nn
import torch.nn.functional as F


class DropNet(nn.Module):
    def __init__(self, p: float = 0.2):
        super().__init__()
        self.p = p
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.d2 = nn.Dropout2d(p)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2)
        self.alpha = nn.AlphaDropout(p=0.1)
        self.feature_alpha = nn.FeatureAlphaDropout(p=0.1)
        self.fc1 = nn.Linear(16 * 49, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.d2(F.relu(self.conv1(x)))
        x = self.feature_alpha(F.selu(self.conv2(x)))
        x = x.flatten(start_dim=1)
        x = F.dropout(x, p=self.p, training=self.training, inplace=False)
        x = self.alpha(F.selu(self.fc1(x)))
        return self.fc2(x)
