# family: convolution and bidirectional LSTM
# input: 3 x 16 x 16
# multiply-adds: 113904
# width: 24
# depth: 3
# parameters: 7978
import torch
import torch.nn as nn


class ConvBiLSTM(nn.Module):
    def __init__(self, hidden_dim: int = 12, bidirectional: bool = True):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.1, inplace=True),
            nn.MaxPool2d(2),
        )
        self.rnn = nn.LSTM(8 * 8, hidden_dim, bidirectional=bidirectional, batch_first=True)
        num_directions = 2 if bidirectional else 1
        self.fc = nn.Linear(hidden_dim * num_directions, 10)
        for name, param in self.rnn.named_parameters():
            if 'bias' in name:
                nn.init.constant_(param, 0.0)
            elif 'weight' in name:
                nn.init.orthogonal_(param)

    def forward(self, x):
        x = self.cnn(x)
        b, c, h, w = x.size()
        x = x.permute(0, 3, 1, 2).contiguous().view(b, w, c * h)
        self.rnn.flatten_parameters()
        out, (h_n, c_n) = self.rnn(x)
        hidden = torch.cat((h_n[-2, :, :], h_n[-1, :, :]), dim=1)
        return self.fc(hidden)
