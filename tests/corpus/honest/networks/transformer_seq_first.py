# family: transformer encoder, sequence first, norm first, on image rows
# input: 3 x 16 x 16
# multiply-adds: 104688
# width: 72
# depth: 6
# parameters: 6730
import torch
import torch.nn as nn


class RowTransformer(nn.Module):
    def __init__(self, hidden: int = 24, heads: int = 3, depth: int = 1):
        super().__init__()
        self.input_proj = nn.Linear(3 * 16, hidden)
        self.pos_emb = nn.Parameter(torch.randn(16, 1, hidden) * 0.02)
        layer = nn.TransformerEncoderLayer(hidden, heads, hidden * 2, dropout=0.0, activation='gelu', norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.classifier = nn.Linear(hidden, 10)

    def forward(self, x):
        # (B, C, H, W) -> (H, B, C*W): every row is a token
        x = x.permute(2, 0, 1, 3).flatten(start_dim=2)
        x = self.input_proj(x) + self.pos_emb
        x = self.encoder(x)
        return self.classifier(x[-1])
