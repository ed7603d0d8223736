# family: bilinear pooling, signed square root
# input: 3 x 16 x 16
# multiply-adds: 114336
# width: 12
# depth: 3
# parameters: 3094
import torch
import torch.nn as nn
import torch.nn.functional as F


class BilinearCNN(nn.Module):
    def __init__(self, num_classes=10):
        super(BilinearCNN, self).__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(12 * 12, num_classes)

    def forward(self, x):
        x = self.features(x)
        batch_size, c = x.size(0), x.size(1)
        feature_size = x.size(2) * x.size(3)
        x = x.view(batch_size, c, feature_size)
        x = (torch.bmm(x, torch.transpose(x, 1, 2)) / feature_size).view(batch_size, -1)
        x = F.normalize(torch.sign(x) * torch.sqrt(torch.abs(x) + 1e-10))
        return self.fc(x)
