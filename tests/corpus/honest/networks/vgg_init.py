# family: VGG without norms, weights initialised by hand
# multiply-adds: 2593088
# width: 32
# depth: 9
# parameters: 30842
import math
import torch
import torch.nn as nn
import torch.nn.init as init


def conv_block(in_ch, out_ch, n=2):
    layers = []
    for i in range(n):
        layers.append(nn.Conv2d(in_ch if i == 0 else out_ch, out_ch, 3, 1, 1))
        layers.append(nn.ReLU())
    layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class SmallVGG(nn.Module):
    def __init__(self, num_classes=10, dropout=0.5):
        super().__init__()
        self.block1 = conv_block(3, 8)
        self.block2 = conv_block(8, 16)
        self.block3 = conv_block(16, 24, n=3)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(24 * 4 * 4, 32),
            nn.ReLU(True),
            nn.Linear(32, num_classes),
        )
        self._initialize_weights()

    def _initialize_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                n = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                m.weight.data.normal_(0, math.sqrt(2. / n))
                if m.bias is not None:
                    m.bias.data.zero_()
            elif isinstance(m, nn.Linear):
                init.xavier_uniform_(m.weight)
                init.constant_(m.bias, 0.01)

    def forward(self, x):
        for block in [self.block1, self.block2, self.block3]:
            x = block(x)
        return self.head(x)
