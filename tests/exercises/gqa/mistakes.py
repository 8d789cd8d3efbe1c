"""The catalogue of known mistakes of grouped-query attention: each a patch on solutions/more/gqa.py."""

from tests.exercises import Mistake

_REFUSE = "if n_kv_head < 1 or config.n_head % n_kv_head:"
_KV_LINEAR = "self.kv = nn.Linear(config.n_embd, 2 * n_kv_head * config.head_size, bias=False)"
_Q = "q = self.q(x).view(B, T, G, H // G, D).permute(0, 2, 3, 1, 4)"
_KV = "k, v = self.kv(x).view(B, T, 2, G, 1, D).permute(2, 0, 3, 4, 1, 5)"
_SCALE = "D**-0.5"
_MASK = "self.future[:T, :T]"
_OUT = "out = weights @ v"
_JOIN = "out = out.permute(0, 3, 1, 2, 4).reshape(B, T, C)"
_WEIGHTS = "weights = self.weight_dropout(F.softmax(scores, dim=-1))"
_BUILD = "grouped = GroupedQueryAttention(config, n_kv_head)"
_MOVE = "grouped.to(fused.proj.weight)"
_HEADS = "keys_and_values.view(2, n_kv_head, -1, config.head_size, C)"
_MEAN = "wide.mean(dim=2)"
_WIDE = "heads.to(torch.promote_types(heads.dtype, torch.float32))"

MISTAKES = (
    Mistake(
        "groups_repeated", "the groups are repeated as a whole: head h uses group h % G",
        "k.repeat gives the groups 0 1 0 1 .., where neighbouring heads need 0 0 1 1 ..: repeat_interleave "
        "does, or H / G behind G in a view.",
        ((_KV, _KV + "\n        k, v = (m.repeat(1, H // G, 1, 1, 1).view(B, G, H // G, T, D) "
                     "for m in (k, v))"),),
    ),
    Mistake(
        "groups_of_strided_heads", "queries are read as (H / G, G): every G-th head is a group",
        "You view the queries as (H / G, G, D), and join them so: head h gets group h % G in another order. "
        "The heads of a group are neighbours: (G, H / G, D).",
        ((_Q, "q = self.q(x).view(B, T, H // G, G, D).permute(0, 3, 2, 1, 4)"),),
    ),
    Mistake(
        "first_group_for_all", "all heads use the first group",
        "Your keys and values are those of group 0 for every head: multi-query attention, and the rest of kv "
        "is never used.",
        ((_KV, _KV + "\n        k, v = k[:, :1], v[:, :1]"),),
    ),
    Mistake(
        "keys_and_values_interleaved", "kv is read as key, value, key, value, group by group",
        "You view kv(x) as (B, T, G, 2, D). The contract puts all keys first, then all values: (B, T, 2, G, "
        "D).",
        ((_KV, "k, v = self.kv(x).view(B, T, G, 2, 1, D).permute(3, 0, 2, 4, 1, 5)"),),
    ),
    Mistake(
        "values_first", "the first half of kv is taken for the values",
        "The first half of kv.weight are the keys, the second the values; yours are swapped.",
        ((_KV, _KV.replace("k, v =", "v, k =")),),
    ),
    Mistake(
        "channels_before_groups", "kv is read as (D, G)",
        "You view the keys as (B, T, D, G), so a group gets every G-th channel. In kv.weight the rows of one "
        "group stand together.",
        ((_KV, "k, v = self.kv(x).view(B, T, 2, D, G, 1).permute(2, 0, 4, 5, 1, 3)"),),
    ),
    Mistake(
        "keys_not_moved", "kv is viewed as (B, 2, G, T, D) without a transpose",
        "view never moves a number: memory holds token after token. View as (B, T, 2, G, D), then move the "
        "group in front of the time.",
        ((_KV, "k, v = self.kv(x).reshape(B, 2, G, 1, T, D).unbind(1)"),),
    ),
    Mistake(
        "scale_by_group", "the scores are scaled by C / G in place of D",
        "You divide by sqrt(C / G). q . k still sums over the D channels of one head.",
        ((_SCALE, "(C // G) ** -0.5"),),
    ),
    Mistake(
        "softmax_over_the_group", "the softmax runs over the heads of a group",
        "The heads of a group compete with each other in your softmax. It belongs over the keys, dim=-1.",
        ((_WEIGHTS, "weights = self.weight_dropout(F.softmax(scores, dim=2))"),),
    ),
    Mistake(
        "joined_by_group_member", "the heads are joined in another order than they were split",
        "You put the first heads of all groups side by side, then the second ones. proj expects head after "
        "head: (G, H / G), then D.",
        ((_JOIN, "out = out.permute(0, 3, 2, 1, 4).reshape(B, T, C)"),),
    ),
    Mistake(
        "kv_for_all_heads", "kv has rows for all H heads",
        "Your kv.weight is (2 C, C), as many keys as heads: nothing is saved. It has 2 G D rows.",
        ((_KV_LINEAR, "self.kv = nn.Linear(config.n_embd, 2 * config.n_embd, bias=False)"),
         ("self.kv(x).view", "self.kv(x)[..., : 2 * G * D].reshape")),
    ),
    Mistake(
        "any_number_of_groups", "a number of groups that does not divide H is not refused",
        "With 4 groups for 6 heads something fails in forward, or nothing. Raise ValueError in __init__ "
        "unless n_head % n_kv_head is 0.",
        ((_REFUSE, "if n_kv_head < 1:"),),
    ),
    Mistake(
        "one_group_by_default", "n_kv_head is 1 by default",
        "The contract's default is n_kv_head=2.",
        (("def __init__(self, config, n_kv_head=2)", "def __init__(self, config, n_kv_head=1)"),),
    ),
    Mistake(
        "loop_over_groups", "a Python loop over heads or groups",
        "The numbers are right, and Python goes over the heads or groups one by one. With these as "
        "dimensions one product does them all.",
        ((_OUT, "out = torch.stack([weights[:, g] @ v[:, g] for g in range(G)], dim=1)"),),
    ),
    Mistake(
        "sum_of_heads", "group_heads adds the heads up",
        "You sum the keys and values of a group, so they are H / G times too large. Take the mean.",
        ((_MEAN, "wide.sum(dim=2)"),),
    ),
    Mistake(
        "first_head_of_each_group", "group_heads takes the first head of each group",
        "The other heads of a group are thrown away. Take the mean of all of them.",
        ((_MEAN, "wide[:, :, 0]"),),
    ),
    Mistake(
        "mean_of_strided_heads", "group_heads averages every G-th head",
        "You view the heads as (H / G, G) and average the first: heads 0, 2, 4 where 0, 1, 2 are a group.",
        ((_HEADS, "keys_and_values.view(2, -1, n_kv_head, config.head_size, C).transpose(1, 2)"),),
    ),
    Mistake(
        "mean_in_half", "group_heads averages in the source's dtype",
        "You add and divide in bfloat16, which keeps 8 bits: the sum is rounded before it is divided. "
        "Go to float32 first, and round once.",
        ((_WIDE, "heads"), (_MEAN, "(wide.sum(dim=2) / wide.shape[2])")),
    ),
    Mistake(
        "projection_shared", "group_heads shares proj with its source",
        "grouped.proj is the source's own module, so training one changes the other. Copy the numbers.",
        (("    grouped.proj.weight.copy_(fused.proj.weight)\n", "    grouped.proj = fused.proj\n"),
         ("    grouped.proj.bias.copy_(fused.proj.bias)\n", "")),
    ),
    Mistake(
        "dtype_forgotten", "group_heads gives float32",
        "A new module is float32, whatever the source is. Move it: grouped.to(fused.proj.weight).",
        ((_MOVE, "grouped.to(fused.proj.weight.device)"),),
    ),
    Mistake(
        "mode_forgotten", "group_heads forgets the mode",
        "A new module is in train mode. Pass the source's on: grouped.train(fused.training).",
        (("    grouped.train(fused.training)\n", ""),),
    ),
    Mistake(
        "groups_not_passed_on", "group_heads builds with the default number of groups",
        "You build GroupedQueryAttention(config), which has 2 groups, whatever n_kv_head is.",
        ((_BUILD, "grouped = GroupedQueryAttention(config)"),
         ("reshape(-1, C))", "reshape(-1, C)[: len(grouped.kv.weight)].expand(len(grouped.kv.weight), C))")),
    ),
)  # fmt: skip
