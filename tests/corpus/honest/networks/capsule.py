# family: capsules with dynamic routing
# input: 3 x 16 x 16
# by hand: matmul copies its parameter to broadcast it, so its layer is not seen as one
# multiply-adds: 139104
# width: 16
# depth: 3
# parameters: 13792
import torch
import torch.nn as nn
import torch.nn.functional as F


def squash(x, dim=-1):
    squared_norm = (x ** 2).sum(dim=dim, keepdim=True)
    scale = squared_norm / (1 + squared_norm)
    return scale * x / (squared_norm.sqrt() + 1e-8)


class PrimaryCaps(nn.Module):
    def __init__(self, in_channels, out_channels, capsule_dim):
        super().__init__()
        self.capsule_dim = capsule_dim
        self.conv = nn.Conv2d(in_channels, out_channels * capsule_dim, kernel_size=5, stride=4)

    def forward(self, x):
        out = self.conv(x)
        out = out.view(x.size(0), -1, self.capsule_dim)
        return squash(out)


class DigitCaps(nn.Module):
    def __init__(self, in_caps, in_dim, num_caps=10, dim_caps=6, num_routing=3):
        super().__init__()
        self.num_caps = num_caps
        self.num_routing = num_routing
        self.W = nn.Parameter(0.1 * torch.randn(1, num_caps, in_caps, dim_caps, in_dim))

    def forward(self, x):
        batch_size = x.size(0)
        # (batch_size, in_caps, in_dim) -> (batch_size, 1, in_caps, in_dim, 1)
        x = x.unsqueeze(1).unsqueeze(4)
        u_hat = torch.matmul(self.W, x)
        u_hat = u_hat.squeeze(-1)
        temp_u_hat = u_hat.detach()

        b = torch.zeros(batch_size, self.num_caps, u_hat.size(2), 1).to(x.device)
        for route_iter in range(self.num_routing - 1):
            c = b.softmax(dim=1)
            s = (c * temp_u_hat).sum(dim=2)
            v = squash(s)
            uv = torch.matmul(temp_u_hat, v.unsqueeze(-1))
            b += uv

        c = b.softmax(dim=1)
        s = (c * u_hat).sum(dim=2)
        return squash(s)


class CapsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, 1, 1)
        self.primary = PrimaryCaps(12, 4, 4)
        self.digits = DigitCaps(in_caps=4 * 3 * 3, in_dim=4)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = self.digits(self.primary(x))
        return x.norm(dim=-1)
