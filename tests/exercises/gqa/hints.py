"""The hints of grouped queries, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with your exercise 1 and G = H, where nothing is new but the parameters' names. Then take 6 "
        "heads and 2 groups, where H / G is not G.",
        "kv(x) is (B, T, 2 G D): view it as (B, T, 2, G, D). Which of the G does head 4 of 6 need?",
        "Either k.repeat_interleave(H // G, dim=1) of k (B, G, T, D), or q as (B, G, H / G, T, D) and k as "
        "(B, G, 1, T, D), which the product repeats. On the way back a token's heads stand side by side.",
    ),
    "converted kept": (
        "group_heads writes no attention: it builds one of yours and fills in numbers. For which heads does "
        "group 1 of 2 stand?",
        "The keys of fused.qkv.weight are its second third, (H D, C): as (G, H / G, D, C) the heads of "
        "a group are dimension 1.",
        "heads.float().mean(dim=1).reshape(G * D, C), keys and values alike, then copy_ under "
        "torch.no_grad() into a module that was moved by .to(fused.proj.weight) and .train(fused.training).",
    ),
}
COMPARE = ("how the product meets a group's keys", "in which dtype the mean is taken, and how often rounded")
