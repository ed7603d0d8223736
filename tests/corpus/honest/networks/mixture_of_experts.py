# family: mixture of experts, softly gated
# input: 3 x 16 x 16
# multiply-adds: 13152
# width: 16
# depth: 8
# parameters: 7481
import torch
import torch.nn as nn
import torch.nn.functional as F


class Expert(nn.Module):
    def __init__(self, d_in, d_hidden, d_out):
        super().__init__()
        self.fc1 = nn.Linear(d_in, d_hidden)
        self.fc2 = nn.Linear(d_hidden, d_out)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class MoE(nn.Module):
    def __init__(self, n_experts=3):
        super().__init__()
        self.features = nn.Conv2d(3, 8, 4, 4)
        self.gate = nn.Linear(128, n_experts)
        self.experts = nn.ModuleList([Expert(128, 16, 10) for _ in range(n_experts)])

    def forward(self, x):
        x = torch.flatten(F.gelu(self.features(x)), 1)
        weights = F.softmax(self.gate(x), dim=-1)
        outputs = torch.stack([e(x) for e in self.experts], dim=1)
        return (weights.unsqueeze(-1) * outputs).sum(1)
