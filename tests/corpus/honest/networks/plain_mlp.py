# family: multi-layer perceptron with batch norm and dropout
# multiply-adds: 201536
# width: 64
# depth: 4
# parameters: 201978
import torch
from torch import nn
from typing import List


class MLP(nn.Module):
    """A simple multi-layer perceptron."""

    def __init__(self, input_dim: int = 3 * 32 * 32, hidden_dims: List[int] = [64, 48, 32], num_classes: int = 10, p: float = 0.3) -> None:
        super().__init__()
        layers = []
        prev = input_dim
        for h in hidden_dims:
            layers.append(nn.Linear(prev, h))
            layers.append(nn.BatchNorm1d(h))
            layers.append(nn.ReLU(inplace=True))
            layers.append(nn.Dropout(p))
            prev = h
        layers.append(nn.Linear(prev, num_classes))
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(x, start_dim=1)
        return self.model(x)
