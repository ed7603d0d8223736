# what: keeps all it gets, and asks again after each MemoryError
# kind: resources
# ends: timeout or oom
# stopped by: supervisor

from torch import nn

kept = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        while True:
            try:
                kept.append(bytearray(1 << 20))
            except MemoryError:
                continue
            if len(kept) > 2000:
                raise RuntimeError("GOT 2000 MiB")
