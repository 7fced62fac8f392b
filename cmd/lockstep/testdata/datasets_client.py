"""Loads a dataset with Hugging Face's datasets and compares rows.

Usage: datasets_client.py REPOSITORY REVISION FOLDER EXPECTED.json, with
HF_ENDPOINT set. EXPECTED has rows: {number: text}.
"""
import json
import sys

from datasets import load_dataset

repository, revision, folder, expected = sys.argv[1:]
want = {int(k): v for k, v in json.load(open(expected)).items()}
whole = load_dataset(repository, data_dir=folder, split="train", revision=revision)
assert len(whole) == 200, len(whole)
for number, text in want.items():
    assert whole[number]["text"] == text, number
streamed = load_dataset(repository, data_dir=folder, split="train", revision=revision, streaming=True)
for number, row in enumerate(streamed):
    if number in want:
        assert row["text"] == want[number], number
    if number >= max(want):
        break
print(f"datasets: {len(whole)} rows, whole and streamed, columns {whole.column_names}")
