# family: VGG from a configuration list
# multiply-adds: 1585472
# width: 32
# depth: 7
# parameters: 34410
'''VGG11/13/16/19 in Pytorch.'''
import torch
import torch.nn as nn


cfg = {
    'VGG5': [8, 'M', 16, 'M', 32, 32, 'M', 32, 'M', 32, 'M'],
    'VGG6': [8, 8, 'M', 16, 'M', 32, 32, 'M', 32, 'M', 32, 'M'],
}


class VGG(nn.Module):
    def __init__(self, vgg_name='VGG5'):
        super(VGG, self).__init__()
        self.features = self._make_layers(cfg[vgg_name])
        self.classifier = nn.Linear(32, 10)

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        out = self.classifier(out)
        return out

    def _make_layers(self, cfg):
        layers = []
        in_channels = 3
        for x in cfg:
            if x == 'M':
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [nn.Conv2d(in_channels, x, kernel_size=3, padding=1),
                           nn.BatchNorm2d(x),
                           nn.ReLU(inplace=True)]
                in_channels = x
        layers += [nn.AvgPool2d(kernel_size=1, stride=1)]
        return nn.Sequential(*layers)
