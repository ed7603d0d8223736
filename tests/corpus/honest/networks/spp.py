# family: spatial pyramid pooling
# multiply-adds: 199128
# width: 12
# depth: 3
# parameters: 4474
import torch
import torch.nn as nn
import torch.nn.functional as F
import math


def spatial_pyramid_pool(previous_conv, num_sample, previous_conv_size, out_pool_size):
    '''
    previous_conv: a tensor vector of previous convolution layer
    returns: a tensor vector with shape [n x m] is the concentration of multi-level pooling
    '''
    for i in range(len(out_pool_size)):
        h_wid = int(math.ceil(previous_conv_size[0] / out_pool_size[i]))
        w_wid = int(math.ceil(previous_conv_size[1] / out_pool_size[i]))
        maxpool = nn.MaxPool2d((h_wid, w_wid), stride=(h_wid, w_wid))
        x = maxpool(previous_conv)
        if i == 0:
            spp = x.view(num_sample, -1)
        else:
            spp = torch.cat((spp, x.view(num_sample, -1)), 1)
    return spp


class SPPNet(nn.Module):
    def __init__(self):
        super(SPPNet, self).__init__()
        self.output_num = [4, 2, 1]
        self.conv1 = nn.Conv2d(3, 8, 4, 2, 1, bias=False)
        self.LReLU1 = nn.LeakyReLU(0.2, inplace=True)
        self.conv2 = nn.Conv2d(8, 12, 4, 2, 1, bias=False)
        self.BN1 = nn.BatchNorm2d(12)
        self.fc1 = nn.Linear(12 * 21, 10)

    def forward(self, x):
        x = self.LReLU1(self.conv1(x))
        x = F.leaky_relu(self.BN1(self.conv2(x)))
        spp = spatial_pyramid_pool(x, x.size(0), [int(x.size(2)), int(x.size(3))], self.output_num)
        return self.fc1(spp)
