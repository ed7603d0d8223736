# family: GRU, time first, mean over outputs
# input: 3 x 16 x 16
# multiply-adds: 74560
# width: 32
# depth: 4
# parameters: 5674
import torch
import torch.nn as nn
import torch.nn.functional as F


class GRUNet(nn.Module):
    def __init__(self, n_hidden=16, dropout=0.2):
        super(GRUNet, self).__init__()
        self.gru = nn.GRU(input_size=48, hidden_size=n_hidden, num_layers=2, dropout=dropout)
        self.fc1 = nn.Linear(n_hidden, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = x.transpose(1, 2).flatten(2)      # (B, H, C*W)
        x = x.transpose(0, 1)                 # (H, B, C*W)
        out, hidden = self.gru(x)
        out = out.mean(dim=0)
        out = F.relu(self.fc1(out))
        return self.fc2(out)
