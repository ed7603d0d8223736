# what: print is a statement
# kind: bugs
# ends: not_code
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        print "hello"
