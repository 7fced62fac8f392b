"""Records loss, gradients and three AdamW steps of small GPT-2s in float64.

The model below is written from the definition of GPT-2, with plain tensor
operations, and is checked here against transformers' GPT2LMHeadModel. Weights
and tokens come from an integer hash, so that the files need not hold them.

    pip install torch==2.15.0 transformers==5.23.0
    python3 testdata/torch/make.py

writes testdata/torch/*.json. Run by hand; the files say which versions they
were made with.
"""

import json
import math
import pathlib

import torch
import transformers

torch.set_default_dtype(torch.float64)

# name, n_layer, n_head, n_embd, n_inner, n_positions, vocab_size, B, T, ignored
CASES = [
    ("plain", 2, 2, 8, 32, 8, 29, 3, 8, False),
    ("odd", 1, 3, 15, 22, 11, 23, 2, 7, False),
    ("ignored", 3, 1, 6, 24, 9, 17, 4, 5, True),
]

# Gradients of all but "odd" are longer than clip_norm. epsilon is large, so that
# the rounding noise in gradients that ought to be zero (those of the key biases)
# is not blown up to a full step.
OPTIMIZER = dict(learning_rate=0.01, warmup_steps=2, beta1=0.9, beta2=0.99,
                 epsilon=1e-4, weight_decay=0.1, clip_norm=0.5)
CLIP = {"odd": 10.0}


def mix(x):
    """The 32-bit finaliser of MurmurHash3."""
    x &= 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x85EBCA6B & 0xFFFFFFFF
    x ^= x >> 13
    x = x * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16


def shapes(layers, embd, inner, positions, vocab):
    """Names and shapes in the order of Hugging Face's state dict."""
    yield "transformer.wte.weight", (vocab, embd)
    yield "transformer.wpe.weight", (positions, embd)
    for i in range(layers):
        h = f"transformer.h.{i}."
        for name, shape in [
            ("ln_1.weight", (embd,)), ("ln_1.bias", (embd,)),
            ("attn.c_attn.weight", (embd, 3 * embd)), ("attn.c_attn.bias", (3 * embd,)),
            ("attn.c_proj.weight", (embd, embd)), ("attn.c_proj.bias", (embd,)),
            ("ln_2.weight", (embd,)), ("ln_2.bias", (embd,)),
            ("mlp.c_fc.weight", (embd, inner)), ("mlp.c_fc.bias", (inner,)),
            ("mlp.c_proj.weight", (inner, embd)), ("mlp.c_proj.bias", (embd,)),
        ]:
            yield h + name, shape
    yield "transformer.ln_f.weight", (embd,)
    yield "transformer.ln_f.bias", (embd,)


def weights(layout):
    """Element i of the flat vector is float32(scale*(mix(i)/2^32 - 1/2)), plus 1 for LayerNorm's weights."""
    out, i = {}, 0
    for name, shape in layout:
        n = math.prod(shape)
        scale = 0.8 if len(shape) == 2 else 0.4
        x = torch.tensor([scale * (mix(j) / 2**32 - 0.5) for j in range(i, i + n)])
        if ".ln_" in name and name.endswith("weight"):
            x += 1
        out[name] = x.to(torch.float32).to(torch.float64).reshape(shape).requires_grad_()
        i += n
    return out


def layer_norm(x, p, name, eps):
    c = x - x.mean(-1, keepdim=True)
    variance = (c * c).mean(-1, keepdim=True)
    return c / (variance + eps).sqrt() * p[name + ".weight"] + p[name + ".bias"]


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def affine(x, p, name):
    return x @ p[name + ".weight"] + p[name + ".bias"]


def attention(x, p, name, heads):
    b, t, c = x.shape
    q, k, v = (y.reshape(b, t, heads, c // heads).transpose(1, 2)
               for y in affine(x, p, name + "c_attn").split(c, dim=2))
    s = q @ k.transpose(2, 3) / math.sqrt(c // heads)
    s = s.masked_fill(torch.ones(t, t).triu(1).bool(), -math.inf)
    y = (s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c)
    return affine(y, p, name + "c_proj")


def loss_sum(p, layers, heads, tokens, targets):
    """Summed cross-entropy of the targets that are not negative."""
    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][: tokens.shape[1]]
    for i in range(layers):
        h = f"transformer.h.{i}."
        x = x + attention(layer_norm(x, p, h + "ln_1", 1e-5), p, h + "attn.", heads)
        f = gelu(affine(layer_norm(x, p, h + "ln_2", 1e-5), p, h + "mlp.c_fc"))
        x = x + affine(f, p, h + "mlp.c_proj")
    logits = layer_norm(x, p, "transformer.ln_f", 1e-5) @ p["transformer.wte.weight"].T
    losses = logits.logsumexp(-1) - logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return losses[targets >= 0].sum()


def check_against_transformers(p, layers, heads, embd, inner, positions, vocab, tokens, targets, loss):
    """transformers' own GPT-2 must give the same loss and gradients."""
    config = transformers.GPT2Config(
        n_layer=layers, n_head=heads, n_embd=embd, n_inner=inner, n_positions=positions, vocab_size=vocab,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="eager", bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).double()
    missing, unexpected = model.load_state_dict({k: v.detach() for k, v in p.items()}, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    logits = model(tokens).logits
    theirs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.clamp(min=-1).flatten(), ignore_index=-1, reduction="sum")
    theirs.backward()
    assert abs(theirs - loss) < 1e-11 * abs(loss), (theirs, loss)
    named = dict(model.named_parameters())
    for name, x in p.items():
        assert torch.allclose(named[name].grad, x.grad, rtol=1e-9, atol=1e-12), name


def steps(p, closure, count, o):
    """Three steps of torch.optim.AdamW on the mean loss, clipped; decay on matrices only."""
    groups = [
        {"params": [x for x in p.values() if x.dim() == 2], "weight_decay": o["weight_decay"]},
        {"params": [x for x in p.values() if x.dim() == 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, betas=(o["beta1"], o["beta2"]), eps=o["epsilon"])
    for step in range(1, 4):
        for group in adamw.param_groups:
            group["lr"] = o["learning_rate"] * min(1.0, step / o["warmup_steps"])
        adamw.zero_grad()
        mean = closure() / count
        mean.backward()
        norm = torch.nn.utils.clip_grad_norm_(p.values(), o["clip_norm"])
        adamw.step()
        yield {"loss": mean.item(), "norm": norm.item()}


def numbers(x):
    return [float(f"{v:.12g}") for v in x.detach().flatten().tolist()]


def record(name, layers, heads, embd, inner, positions, vocab, b, t, ignored):
    p = weights(list(shapes(layers, embd, inner, positions, vocab)))
    text = [mix(1_000_000 + i) % vocab for i in range(b * (t + 1))]
    rows = torch.tensor(text).reshape(b, t + 1)
    tokens, targets = rows[:, :-1].contiguous(), rows[:, 1:].clone()
    if ignored:  # one whole sequence, the head of another, single places
        targets[1] = -1
        targets[2, :3] = -100
        targets[3, 4] = -1
    optimizer = OPTIMIZER | {"clip_norm": CLIP.get(name, OPTIMIZER["clip_norm"])}
    count = int((targets >= 0).sum())
    closure = lambda: loss_sum(p, layers, heads, tokens, targets)
    loss = closure()
    loss.backward()
    check_against_transformers(p, layers, heads, embd, inner, positions, vocab, tokens, targets, loss)
    out = {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__},
        "config": {"n_layer": layers, "n_head": heads, "n_embd": embd, "n_inner": inner,
                   "n_positions": positions, "vocab_size": vocab, "eos_token_id": vocab - 1},
        "batch": b, "positions": t,
        "inputs": tokens.flatten().tolist(), "targets": targets.flatten().tolist(),
        "loss": float(f"{loss.item():.15g}"), "tokens": count,
        "gradient": {k: numbers(x.grad) for k, x in p.items()},
        "optimizer": optimizer,
    }
    out["steps"] = list(steps(p, closure, count, optimizer))
    out["parameters"] = {k: numbers(x) for k, x in p.items()}
    path = pathlib.Path(__file__).with_name(name + ".json")
    path.write_text(json.dumps(out, separators=(",", ":")).replace('],"', '],\n"') + "\n")
    print(path, path.stat().st_size, "bytes, loss", loss.item(), out["steps"])


for case in CASES:
    record(*case)
