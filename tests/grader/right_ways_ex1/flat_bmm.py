"""bmm and baddbmm over a flattened B * H, with a finite mask and the softmax in float32."""
import torch
import torch.nn as nn


class FusedMultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.d1, self.d2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x):
        b, t, c = x.shape
        h = self.c.n_head
        d = c // h
        qkv = self.qkv(x).view(b, t, 3, h, d)
        q = qkv[:, :, 0].transpose(1, 2).reshape(b * h, t, d)
        k = qkv[:, :, 1].permute(0, 2, 3, 1).reshape(b * h, d, t)
        v = qkv[:, :, 2].transpose(1, 2).reshape(b * h, t, d)
        mask = torch.zeros(t, t, dtype=x.dtype, device=x.device)
        mask.masked_fill_(torch.ones(t, t, dtype=torch.bool, device=x.device).triu_(1), torch.finfo(x.dtype).min)
        s = torch.baddbmm(mask.expand(b * h, t, t), q, k, beta=1.0, alpha=d ** -0.5)
        w = self.d1(torch.softmax(s, -1, dtype=torch.float32).to(x.dtype))
        y = torch.bmm(w, v).view(b, h, t, d).permute(0, 2, 1, 3).contiguous().view(b, t, c)
        return self.d2(torch.addmm(self.proj.bias, y.view(-1, c), self.proj.weight.t()).view(b, t, c))


def fuse_heads(baseline):
    w = baseline.proj.weight
    out = FusedMultiHeadAttention(baseline.config).to(w.device).to(w.dtype)
    sources = [[h.query.weight for h in baseline.heads], [h.key.weight for h in baseline.heads], [h.value.weight for h in baseline.heads]]
    out.qkv.weight.data = torch.cat([torch.cat(s) for s in sources]).detach().clone()
    out.proj.weight.data, out.proj.bias.data = w.detach().clone(), baseline.proj.bias.detach().clone()
    return out.eval() if not baseline.training else out
