# what: computes a number with a billion digits, in one step of the interpreter
# kind: resources
# ends: timeout or oom
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    width = 7 ** (7**10)
