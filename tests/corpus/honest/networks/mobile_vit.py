# family: convolution and transformer, patches folded back
# input: 3 x 16 x 16
# multiply-adds: 458104
# width: 48
# depth: 10
# parameters: 7004
import torch
import torch.nn as nn


class MobileViTBlock(nn.Module):
    def __init__(self, dim=16, channel=12, patch=2):
        super().__init__()
        self.ph = self.pw = patch
        self.local = nn.Sequential(nn.Conv2d(channel, channel, 3, 1, 1), nn.SiLU(), nn.Conv2d(channel, dim, 1))
        self.transformer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0., activation=nn.functional.silu, batch_first=True)
        self.back = nn.Conv2d(dim, channel, 1)
        self.fuse = nn.Conv2d(2 * channel, channel, 3, padding=1)

    def forward(self, x):
        y = x.clone()
        x = self.local(x)
        b, d, h, w = x.shape
        ph, pw = self.ph, self.pw
        # b d (h ph) (w pw) -> (b ph pw) (h w) d
        x = x.reshape(b, d, h // ph, ph, w // pw, pw).permute(0, 3, 5, 2, 4, 1).reshape(b * ph * pw, (h // ph) * (w // pw), d)
        x = self.transformer(x)
        x = x.reshape(b, ph, pw, h // ph, w // pw, d).permute(0, 5, 3, 1, 4, 2).reshape(b, d, h, w)
        return self.fuse(torch.cat((self.back(x), y), 1))


class MobileViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.block = MobileViTBlock()
        self.pool = nn.AvgPool2d(8, 1)
        self.fc = nn.Linear(12, 10, bias=False)

    def forward(self, x):
        x = self.block(self.stem(x))
        x = self.pool(x).view(-1, x.shape[1])
        return self.fc(x)
