# family: LSTM cell in a loop over rows
# input: 3 x 8 x 8
# multiply-adds: 20640
# width: 16
# depth: 9
# parameters: 2858
import torch
import torch.nn as nn


class LSTMCellNet(nn.Module):
    def __init__(self, hidden_size=16):
        super(LSTMCellNet, self).__init__()
        self.hidden_size = hidden_size
        self.cell = nn.LSTMCell(24, hidden_size)
        self.fc = nn.Linear(hidden_size, 10)

    def forward(self, x):
        batch_size = x.size(0)
        x = x.permute(2, 0, 1, 3).reshape(8, batch_size, 24)
        h = torch.zeros(batch_size, self.hidden_size, device=x.device)
        c = torch.zeros(batch_size, self.hidden_size, device=x.device)
        for t in range(8):
            h, c = self.cell(x[t], (h, c))
        return self.fc(h)
