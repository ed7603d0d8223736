# family: group, instance and layer norms
# input: 3 x 16 x 16
# multiply-adds: 271488
# width: 12
# depth: 5
# parameters: 7006
import torch
import torch.nn as nn


def get_norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(num_groups=4, num_channels=channels)
    elif kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
    elif kind == "layer":
        return nn.GroupNorm(1, channels)
    elif kind == "batch":
        return nn.BatchNorm2d(channels, momentum=0.01, eps=1e-3)
    else:
        raise ValueError(f"unknown norm: {kind}")


class NormNet(nn.Module):
    def __init__(self):
        super().__init__()
        blocks = []
        c = 3
        for i, kind in enumerate(["group", "instance", "layer", "batch"]):
            blocks += [nn.Conv2d(c, 12, 3, stride=1 + i % 2, padding=1, bias=False), get_norm(kind, 12), nn.Softplus()]
            c = 12
        self.blocks = nn.Sequential(*blocks)
        self.ln = nn.LayerNorm([12, 4, 4])
        self.inorm = nn.InstanceNorm2d(12)
        self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 10))

    def forward(self, x):
        x = self.blocks(x)
        x = self.ln(x) + self.inorm(x)
        return self.head(x)
