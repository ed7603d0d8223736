# family: plain recurrent network with relu
# input: 3 x 16 x 16
# multiply-adds: 55776
# width: 48
# depth: 2
# parameters: 4138
import torch
import torch.nn as nn


class SimpleRNN(nn.Module):
    def __init__(self, nonlinearity='relu'):
        super().__init__()
        self.rnn = nn.RNN(48, 24, num_layers=1, nonlinearity=nonlinearity, batch_first=True, bidirectional=True)
        self.bn = nn.BatchNorm1d(48)
        self.out = nn.Linear(48, 10)

    def forward(self, images):
        batch = images.size(0)
        seq = images.permute(0, 2, 3, 1).reshape(batch, 16, 48)
        output, h_n = self.rnn(seq)
        last = h_n.transpose(0, 1).reshape(batch, -1)
        return self.out(self.bn(last))
