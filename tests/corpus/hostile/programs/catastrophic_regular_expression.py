# what: a regular expression that takes exponential time
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn

re = __import__("re")


class Net(nn.Module):
    matched = re.match("(a+)+$", "a" * 60 + "b")
