# family: all-convolutional network
# multiply-adds: 2208768
# width: 24
# depth: 6
# parameters: 6418
import torch
import torch.nn as nn
import torch.nn.functional as F


class AllConvNet(nn.Module):
    def __init__(self, input_size=3, n_classes=10, **kwargs):
        super(AllConvNet, self).__init__()
        self.conv1 = nn.Conv2d(input_size, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.conv3 = nn.Conv2d(12, 12, 3, padding=1, stride=2)
        self.conv4 = nn.Conv2d(12, 24, 3, padding=1, stride=2)
        self.conv5 = nn.Conv2d(24, 24, 1)
        self.class_conv = nn.Conv2d(24, n_classes, 1)

    def forward(self, x):
        x_drop = F.dropout(x, .2, training=self.training)
        conv1_out = F.relu(self.conv1(x_drop))
        conv2_out = F.relu(self.conv2(conv1_out))
        conv3_out = F.relu(self.conv3(conv2_out))
        conv3_out_drop = F.dropout(conv3_out, .5, training=self.training)
        conv4_out = F.relu(self.conv4(conv3_out_drop))
        conv5_out = F.relu(self.conv5(conv4_out))

        class_out = F.relu(self.class_conv(conv5_out))
        pool_out = F.adaptive_avg_pool2d(class_out, 1)
        pool_out.squeeze_(-1)
        pool_out.squeeze_(-1)
        return pool_out
