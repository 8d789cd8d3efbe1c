"""What a sheet of the notebook shows beside the stub's own text: formulas, a drawing of the shapes, and a few
lines to try.

Formulas are TeX, as notebooks show it. A drawing is plain text, so that it can be read everywhere. What is
tried must work with the solution, and say NotImplementedError with the stub.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    formulas: str
    drawing: str
    tries: str


CONFIG = "config = GPTConfig(vocab_size=65, block_size=8, n_head=4, n_embd=32, dropout=0.0)"

_ATTENTION = r"""$$\text{scores} = \frac{q\,k^\top}{\sqrt D}, \qquad
\text{weights} = \operatorname{softmax}(\text{scores}, -\infty \text{ where } s > t), \qquad
\text{out} = \text{weights}\; v$$"""

NOTHING = Sheet("", "", "")
SHEETS = {
    "ex1": Sheet(
        _ATTENTION,
        """
x (B, T, C) --qkv--> (B, T, 3C) --split--> q, k, v  (B, T, C) each
                                               |  C = H * D, head after head
                                               v
                                           (B, T, H, D) --move H--> (B, H, T, D)
q @ k^T       (B, H, T, D) @ (B, H, D, T)  ->  (B, H, T, T)   mask, softmax over the last
weights @ v   (B, H, T, T) @ (B, H, T, D)  ->  (B, H, T, D)
move H back   (B, T, H, D) --join--> (B, T, C) --proj--> out (B, T, C)
""",
        f"""
from gpt_core import GPTConfig

{CONFIG}
x = torch.randn(1, 5, 32)
attention = FusedMultiHeadAttention(config)
print("qkv.weight", attention.qkv.weight.shape, " out", attention(x).shape)
""",
    ),
    "ex2": Sheet(
        r"""$$\text{loss} = \frac{1}{|M|}\sum_{(b,t)\,\in M} -\ln p_{b,t}\big(y_{b,t}\big), \qquad
M = \{(b,t) : y_{b,t} \ne -1\}$$""",
        """
position   0   1   2   3   4   5   6   7          n = 2 digits, T = 3n + 2 = 8
x          8   5   +   5   0   =   5   3          (B, T)
y         -1  -1  -1  -1  -1   5   3   1          (B, T), the sum 135 reversed
                               |   |   |
logits                        V=12 numbers each   (B, T, V)
""",
        """
print(encode_problem(85, 50, 2))
x, y = make_batch(torch.tensor([85]), torch.tensor([50]), 2)
print(x.shape, y.shape)
print(x[0].tolist())
print(y[0].tolist())
""",
    ),
    "ex3": Sheet(
        r"""$$E_{\text{target}}[\,j\,] = E_{\text{source}}[\,i\,]
\quad\text{where } \text{chars}_{\text{source}}[i] = \text{chars}_{\text{target}}[j]$$""",
        """
source "bac"   row 0 b   row 1 a   row 2 c         token_embedding_table (V, C)
                  \\        /
                   \\      /                         lm_head.weight (V, C), lm_head.bias (V,)
                    X                              the same rows
                   / \\
target "abx"   row 0 a   row 1 b   row 2 x         row 2 stays fresh; ["x"] is returned
""",
        """
print(repr(remove_overlap("hello\\nworld,\\n\\nhello, world\\n", "say HELLO world", window=9)))
""",
    ),
    "ex4": Sheet(
        r"""$$a_{m,i} = m\,\theta_i, \quad \theta_i = 10000^{-2i/D}, \qquad
\begin{pmatrix}x'_{2i}\\ x'_{2i+1}\end{pmatrix} =
\begin{pmatrix}\cos a & -\sin a\\ \sin a & \cos a\end{pmatrix}
\begin{pmatrix}x_{2i}\\ x_{2i+1}\end{pmatrix}$$""",
        """
angles (T, D/2):          pair 0     pair 1          x (B, H, T, D): channels 0 1 | 2 3
           position 0       0          0                                   pair 0 | pair 1
           position 1       1        0.01
           position 2       2        0.02            q and k are rotated, v is not
""",
        """
angles = rope_angles(torch.tensor([0, 1, 2]), 4)
print(angles.shape, angles.tolist())
print(apply_rope(torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 3), angles))
""",
    ),
    "rmsnorm": Sheet(
        r"$$y = \frac{x}{\sqrt{\frac{1}{C}\sum_c x_c^2 + \varepsilon}} \odot \text{weight}$$",
        """
x (B, T, C) --square, mean over C--> (B, T, 1) --root--> x / root (B, T, C) --times weight (C,)--> (B, T, C)
""",
        f"""
from gpt_core import GPTConfig

{CONFIG}
print(RMSNorm(config)(torch.randn(2, 3, 32)).pow(2).mean(-1))  # nearly 1 for each token
""",
    ),
    "swiglu": Sheet(
        r"""$$y = W_{\text{down}}\big(\operatorname{silu}(W_{\text{gate}}\,x) \odot W_{\text{up}}\,x\big),
\qquad \operatorname{silu}(z) = z\,\sigma(z)$$""",
        """
             gate: (B, T, hidden) --silu--+
x (B, T, C) <                              * --> (B, T, hidden) --down--> (B, T, C)
             up:   (B, T, hidden) --------+
""",
        f"""
from gpt_core import GPTConfig

{CONFIG}
print(SwiGLU(config)(torch.randn(2, 3, 32)).shape)
""",
    ),
    "kvcache": Sheet(
        _ATTENTION,
        """
cache: k, v of the tokens so far    (B, H, S, D)
new tokens: q, k, v                 (B, H, T, D)      k, v are appended: (B, H, S + T, D)
scores: new queries, all keys       (B, H, T, S + T)  token t of the new ones sees columns 0 .. S + t
""",
        f"""
from gpt_core import GPTConfig

{CONFIG}
attention, x = CachedAttention(config).eval(), torch.randn(1, 5, 32)
cache = attention.new_cache()
parts = [attention.forward_cached(x[:, :3], cache), attention.forward_cached(x[:, 3:], cache)]
print((torch.cat(parts, dim=1) - attention(x)).abs().max())  # nearly 0
""",
    ),
    "gqa": Sheet(
        _ATTENTION,
        """
queries  H heads    0 1 2 3 4 5 6 7      (B, H, T, D)
                    \\| |/   \\| |/         each group of H / G queries
keys     G groups     0       1          (B, G, T, D)  has one key and one value
""",
        "",
    ),
    "window": Sheet(
        r"$$\text{token } t \text{ sees the tokens } s \text{ with } \quad t - w < s \le t$$",
        """
w = 3        s 0 1 2 3 4 5
      t = 0    #
          1    # #
          2    # # #
          3      # # #
          4        # # #
          5          # # #
""",
        "",
    ),
    "qknorm": Sheet(
        r"$$\text{scores} = \frac{\operatorname{RMSNorm}(q)\,\operatorname{RMSNorm}(k)^\top}{\sqrt D}$$",
        """
q, k (B, H, T, D) --RMSNorm over D--> (B, H, T, D) --q k^T / sqrt(D)--> (B, H, T, T)        v stays as it is
""",
        "",
    ),
    "tying": Sheet(
        r"$$x = E[\text{idx}], \qquad \text{logits} = h\,E^\top + b$$",
        """
idx (B, T) --rows of E (V, C)--> (B, T, C) --blocks--> h (B, T, C) --E^T (C, V), + b--> logits (B, T, V)
""",
        "",
    ),
    "muon": Sheet(
        r"$$G = U \Sigma V^\top \;\longmapsto\; U V^\top \quad\text{(nearly, by Newton-Schulz steps)}, \qquad"
        r" W \leftarrow W - \eta\,\text{scale}\; U V^\top$$",
        """
gradient (R, S) --momentum--> (R, S) --orthogonalise--> singular values all near 1 --> update of W (R, S)
""",
        "",
    ),
    "calculator": Sheet(
        r"""$$\text{loss} = \frac{1}{|M|}\sum_{(b,t)\,\in M} -\ln p_{b,t}\big(y_{b,t}\big), \qquad
M = \{(b,t) : y_{b,t} \ne -1\}$$""",
        """
prompt   3 4 * 5 7 =        answer   8 3 2 + 0 0 7 1 = 8 3 9 1 ;      then ; until 48 tokens
y        -1 up to the place of "=", then the answer's tokens with the first ;, then -1
""",
        """
print(encode(34, "*", 57))
x, y = make_batch([(34, "*", 57)])
print(x.shape, y.shape)
""",
    ),
}
