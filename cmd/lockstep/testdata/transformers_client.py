"""Loads a model with transformers and compares it with what lockstep computes.

Usage: transformers_client.py REPOSITORY REVISION EXPECTED.json, with HF_ENDPOINT
set. EXPECTED has prompt, tokens, logits (flat), text and continued (tokens).
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

repository, revision, expected = sys.argv[1:]
want = json.load(open(expected))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(repository, revision=revision).eval()
tokens = torch.tensor([want["tokens"]])
with torch.no_grad():
    got = model(tokens).logits[0]
    continued = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=20)[0].tolist()
ours = torch.tensor(want["logits"]).reshape(got.shape)
worst = (got - ours).abs().max().item()
assert worst <= 1e-4, f"logits differ by {worst}"
assert continued[len(want["tokens"]):] == want["continued"], (continued, want["continued"])
tokenizer = AutoTokenizer.from_pretrained(repository, revision=revision)
assert tokenizer(want["prompt"])["input_ids"] == want["tokens"], tokenizer(want["prompt"])
assert tokenizer.decode(continued) == want["text"], (tokenizer.decode(continued), want["text"])
print(f"transformers: logits within {worst:.1e}, the same greedy text: {want['text']!r}")
