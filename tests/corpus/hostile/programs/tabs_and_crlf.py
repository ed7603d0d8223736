# what: is indented by tabs, and has the line ends of another system
# kind: bugs
# ends: lifted
# twin: dense
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
	def __init__(self):
		super().__init__()
		self.f = nn.Linear(192, 10)

	def forward(self, x):
		return self.f(x.flatten(1))
