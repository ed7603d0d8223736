# family: dense block that keeps a list of features
# input: 3 x 16 x 16
# multiply-adds: 663822
# width: 10
# depth: 5
# parameters: 2992
import torch
from torch import nn


class DenseLayer(nn.Module):
    def __init__(self, c_in, growth, drop=0.1):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm2d(c_in), nn.ELU(), nn.Conv2d(c_in, growth, 3, padding="same"))
        self.drop = nn.Dropout(drop)

    def forward(self, features):
        if isinstance(features, torch.Tensor):
            features = [features]
        x = torch.cat(features, dim=1)
        return self.drop(self.net(x))


class DenseListNet(nn.Module):
    def __init__(self, growth: int = 6, n_layers: int = 4):
        super().__init__()
        for i in range(n_layers):
            self.add_module(f"dense{i}", DenseLayer(3 + i * growth, growth))
        self.n_layers = n_layers
        self.out = nn.Linear(3 + n_layers * growth, 10)

    def forward(self, x):
        feats = [x]
        for i in range(self.n_layers):
            layer = getattr(self, f"dense{i}")
            feats.append(layer(feats))
        x = torch.cat(feats, 1)
        x = x.flatten(2).mean(-1)
        return self.out(x)
