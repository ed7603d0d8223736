# what: a thousand small files
# kind: resources
# ends: sandbox or lift_failed
# goal: lifted
# stopped by: landlock seccomp rlimits

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for number in range(1000):
            with open(str(number), "w") as file:
                file.write("x" * 1000)
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))
