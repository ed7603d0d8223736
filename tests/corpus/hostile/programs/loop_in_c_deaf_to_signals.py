# what: ignores every signal that can be ignored, then loops in C
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn

signal = __import__("signal")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        sum(range(1 << 60))
