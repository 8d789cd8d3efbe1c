from torch import nn
from torch.nn import functional as F


class QKNormAttention(nn.Module):
    """As in timm's vision transformers: torch's own norm and its own attention."""

    def __init__(self, config, norm_layer=nn.RMSNorm):
        super().__init__()
        dim, self.num_heads = config.n_embd, config.n_head
        self.head_dim = dim // self.num_heads
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.q_norm = norm_layer(self.head_dim, eps=1e-6)
        self.k_norm = norm_layer(self.head_dim, eps=1e-6)
        self.attn_drop = config.dropout
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(config.dropout)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        p = self.attn_drop if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(B, N, C)))
