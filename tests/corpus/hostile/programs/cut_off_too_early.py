# what: was cut off before it had a forward
# kind: bugs
# ends: not_code
# cut: yes
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Lin
