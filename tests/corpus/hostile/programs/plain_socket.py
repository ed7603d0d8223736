# what: imports socket
# kind: escape
# ends: no_class
# says: is not allowed
# stopped by: triage

import socket

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError(f"GOT {socket.AF_INET}")
