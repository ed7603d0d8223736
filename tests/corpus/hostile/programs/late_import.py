# what: imports subprocess where it is used
# kind: escape
# ends: no_class
# says: is not allowed
# stopped by: triage

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        from subprocess import PIPE

        raise RuntimeError(f"GOT {PIPE}")
