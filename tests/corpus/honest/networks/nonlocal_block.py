# family: non-local block, self-attention GAN style, gamma at 0
# input: 3 x 16 x 16
# multiply-adds: 211456
# width: 16
# depth: 6
# parameters: 7807
import torch
import torch.nn as nn


class Self_Attn(nn.Module):
    """ Self attention Layer"""
    def __init__(self, in_dim):
        super(Self_Attn, self).__init__()
        self.query_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim//8, kernel_size=1)
        self.key_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim//8, kernel_size=1)
        self.value_conv = nn.Conv2d(in_channels=in_dim, out_channels=in_dim, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x):
        m_batchsize, C, width, height = x.size()
        proj_query = self.query_conv(x).view(m_batchsize, -1, width*height).permute(0, 2, 1)
        proj_key = self.key_conv(x).view(m_batchsize, -1, width*height)
        energy = torch.bmm(proj_query, proj_key)
        attention = self.softmax(energy)
        proj_value = self.value_conv(x).view(m_batchsize, -1, width*height)

        out = torch.bmm(proj_value, attention.permute(0, 2, 1))
        out = out.view(m_batchsize, C, width, height)

        out = self.gamma*out + x
        return out


class SAGANClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Conv2d(3, 16, 4, 2, 1)
        self.attn = Self_Attn(16)
        self.l2 = nn.Conv2d(16, 16, 4, 2, 1)
        self.last = nn.Conv2d(16, 10, 4)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.l1(x), 0.2)
        x = self.attn(x)
        x = nn.functional.leaky_relu(self.l2(x), 0.2)
        return self.last(x).squeeze(3).squeeze(2)
