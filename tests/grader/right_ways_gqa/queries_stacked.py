import torch
from torch import nn
from torch.nn import functional as F


class GroupedQueryAttention(nn.Module):
    """The heads of a group are as many further queries of one head, (B, G, R T, D)."""

    def __init__(self, config, n_kv_head=2):
        super().__init__()
        try:
            rest = config.n_head % n_kv_head
        except ZeroDivisionError:
            rest = 1
        if rest != 0 or n_kv_head < 0:
            raise ValueError("the number of groups")
        self.G, self.R, self.D = n_kv_head, config.n_head // n_kv_head, config.head_size
        self.q = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.kv = nn.Linear(config.n_embd, 2 * n_kv_head * config.head_size, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.a, self.b = (nn.Dropout(config.dropout) for _ in range(2))
        self.register_buffer("tril", torch.tril(torch.ones(config.block_size, config.block_size)))

    def forward(self, x):
        B, T, C = x.shape
        q = self.q(x).reshape(B, T, self.G, self.R, self.D).permute(0, 2, 3, 1, 4).flatten(2, 3)
        k, v = self.kv(x).reshape(B, T, 2 * self.G, self.D).transpose(1, 2).split(self.G, dim=1)
        scores = torch.matmul(q, k.transpose(-1, -2)).mul(self.D**-0.5)  # (B, G, R T, T)
        seen = self.tril[:T, :T].repeat(self.R, 1).bool()
        out = self.a(F.softmax(scores.masked_fill(~seen, float("-inf")), dim=-1)) @ v
        out = out.unflatten(2, (self.R, T)).flatten(1, 2).transpose(1, 2).reshape(B, T, C)
        return self.b(self.proj(out))


@torch.no_grad()
def group_heads(fused, config, n_kv_head=2):
    module = GroupedQueryAttention(config, n_kv_head).to(fused.qkv.weight.device).to(fused.qkv.weight.dtype)
    C = config.n_embd
    module.q.weight[:] = fused.qkv.weight[:C]
    size = config.n_head // n_kv_head * config.head_size
    groups = fused.qkv.weight[C:].split(size)  # all of the keys, then all of the values
    mean = [g.float().view(-1, config.head_size, C).mean(0) for g in groups]
    module.kv.weight[:] = torch.cat(mean).to(module.kv.weight.dtype)
    module.proj.load_state_dict(fused.proj.state_dict())
    module.train(fused.training)
    return module
