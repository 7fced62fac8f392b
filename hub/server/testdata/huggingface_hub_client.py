"""Drives a Hub server with Hugging Face's own Python client.

Usage: huggingface_hub_client.py FOLDER, with HF_ENDPOINT, HF_TOKEN and HF_HOME
set. FOLDER takes temporary files. Prints what it did; any surprise is an
exception. Without HF_HUB_DISABLE_XET=1 it is about a client that insists on Xet:
hf_xet must be there.
"""
import hashlib
import importlib
import os
import sys

from huggingface_hub import (
    CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem, hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

if os.environ.get("HF_HUB_DISABLE_XET") != "1":
    importlib.import_module("hf_xet")
work = sys.argv[1]
api = HfApi()
repo = "py/model"


def expect(error, status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as e:
        assert status is None or e.response.status_code == status, f"{e.response.status_code}, want {status}: {e}"
        return
    raise AssertionError(f"{call} did not fail with {error}")


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


# Who, and repositories.
me = api.whoami()
assert me["name"] and me["auth"]["accessToken"]["role"] == "write", me
assert not api.repo_exists(repo)
expect(RepositoryNotFoundError, None, api.model_info, repo)
url = api.create_repo(repo)
equal(url.repo_id, repo)
equal(api.create_repo(repo, exist_ok=True).repo_id, repo)
expect(HfHubHTTPError, 409, api.create_repo, repo)
assert api.repo_exists(repo)
first = api.model_info(repo)
assert first.sha and first.last_modified, first

# A folder with a large file, small files, an empty file and a README.
folder = os.path.join(work, "folder")
os.makedirs(os.path.join(folder, "sub", "deep"), exist_ok=True)
weights = hashlib.shake_256(b"weights").digest(3_000_000)
contents = {
    "README.md": b"---\nlicense: mit\n---\n# A model\n",
    "config.json": b'{"model_type": "gpt2"}\n',
    "model.safetensors": weights,
    "sub/deep/notes.txt": "Grüße, 世界\n".encode(),
    "empty.txt": b"",
}
for path, data in contents.items():
    with open(os.path.join(folder, path), "wb") as f:
        f.write(data)
commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="first epoch", commit_description="with words")
head = api.model_info(repo, files_metadata=True)
equal(head.sha, commit.oid)
sizes = {s.rfilename: s.size for s in head.siblings}
equal({k: v for k, v in sizes.items() if k != ".gitattributes"}, {k: len(v) for k, v in contents.items()})
lfs = next(s.lfs for s in head.siblings if s.rfilename == "model.safetensors")
equal((lfs.sha256, lfs.size), (hashlib.sha256(weights).hexdigest(), len(weights)))

# The same again makes no commit.
again = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="again")
equal(api.model_info(repo).sha, commit.oid)

# Lists.
equal(sorted(f for f in api.list_repo_files(repo) if f != ".gitattributes"), sorted(contents))
tree = list(api.list_repo_tree(repo, recursive=True, expand=True))
by_path = {e.path: e for e in tree}
equal(by_path["sub"].tree_id is not None, True)
equal(by_path["model.safetensors"].lfs.sha256, lfs.sha256)
equal(by_path["config.json"].blob_id, hashlib.sha1(b"blob %d\0" % len(contents["config.json"]) + contents["config.json"]).hexdigest())
equal(by_path["config.json"].last_commit.title, "first epoch")
equal([e.path for e in api.list_repo_tree(repo, "sub")], ["sub/deep"])
equal([e.path for e in api.get_paths_info(repo, ["config.json", "nowhere", "sub"])], ["config.json", "sub"])
history = api.list_repo_commits(repo)
equal([c.title for c in history], ["first epoch", "initial commit"])
equal(history[0].message, "with words")

# Tags and branches.
api.create_tag(repo, tag="1", revision=commit.oid)
api.create_tag(repo, tag="1", revision=commit.oid, exist_ok=True)
expect(HfHubHTTPError, 409, api.create_tag, repo, tag="1")
expect(RevisionNotFoundError, 404, api.create_tag, repo, tag="2", revision="nowhere")
expect(HfHubHTTPError, 400, api.create_tag, repo, tag="two words")
expect(HfHubHTTPError, 403, api.delete_tag, repo, tag="1")
api.create_branch(repo, branch="dev")
api.create_branch(repo, branch="dev", exist_ok=True)
expect(HfHubHTTPError, 409, api.create_branch, repo, branch="dev")
refs = api.list_repo_refs(repo)
equal([(b.name, b.target_commit) for b in refs.branches], [("dev", commit.oid), ("main", commit.oid)])
equal([(t.name, t.ref, t.target_commit) for t in refs.tags], [("1", "refs/tags/1", commit.oid)])

# Commits: bytes, a copy, deletions; a lost race.
second = api.create_commit(repo, commit_message="second", parent_commit=commit.oid, operations=[
    CommitOperationAdd("config.json", b'{"model_type": "gpt2", "n": 2}\n'),
    CommitOperationAdd("bytes.bin", b"\x00\x01" * 1000),
    CommitOperationCopy("model.safetensors", "copy.safetensors"),
    CommitOperationDelete("empty.txt"),
    CommitOperationDelete("sub/", is_folder=True),
])
expect(HfHubHTTPError, 412, api.create_commit, repo, commit_message="late", parent_commit=commit.oid, operations=[CommitOperationAdd("x.txt", b"x")])
expect(EntryNotFoundError, 404, api.delete_file, "nowhere.txt", repo)
equal(sorted(api.list_repo_files(repo)), sorted([".gitattributes", "README.md", "config.json", "model.safetensors", "copy.safetensors", "bytes.bin"]))
dev = api.upload_file(path_or_fileobj=b"on dev\n", path_in_repo="dev.txt", repo_id=repo, revision="dev")
assert "dev.txt" in api.list_repo_files(repo, revision="dev") and "dev.txt" not in api.list_repo_files(repo)
api.delete_branch(repo, branch="dev")
expect(HfHubHTTPError, None, api.delete_branch, repo, branch="main")

# Downloads: by tag, branch, commit; what is not there; a snapshot.
for revision in ["1", "refs/tags/1", commit.oid]:
    with open(hf_hub_download(repo, "config.json", revision=revision), "rb") as f:
        equal(f.read(), contents["config.json"])
with open(hf_hub_download(repo, "copy.safetensors"), "rb") as f:
    equal(f.read(), weights)
expect(EntryNotFoundError, None, hf_hub_download, repo, "nowhere.bin", revision="1")
expect(RevisionNotFoundError, None, hf_hub_download, repo, "config.json", revision="99")
expect(RepositoryNotFoundError, None, hf_hub_download, "py/nothing", "config.json")
snapshot = snapshot_download(repo, revision="1")
for path, data in contents.items():
    with open(os.path.join(snapshot, path), "rb") as f:
        equal(f.read(), data)
cached = os.path.join(os.environ["HF_HOME"], "hub", "models--py--model")
equal({".no_exist", "blobs", "refs", "snapshots"} - set(os.listdir(cached)), set())
equal(os.path.exists(os.path.join(cached, ".no_exist", commit.oid, "nowhere.bin")), True)
equal(open(os.path.join(cached, "refs", "1")).read(), commit.oid)

# Ranges, by way of the file system interface.
with HfFileSystem().open(f"{repo}@1/model.safetensors", "rb", block_size=4096) as f:
    f.seek(1_000_001)
    equal(f.read(100), weights[1_000_001:1_000_101])

# A private dataset, which others do not see.
api.create_repo("py/data", repo_type="dataset", private=True)
api.upload_file(path_or_fileobj=b'{"text": "one"}\n', path_in_repo="data/rows.jsonl", repo_id="py/data", repo_type="dataset")
equal(api.dataset_info("py/data").private, True)
expect(RepositoryNotFoundError, None, HfApi(token=False).dataset_info, "py/data")
expect(HfHubHTTPError, 401, HfApi(token=False).create_repo, "py/other")
with open(hf_hub_download("py/data", "data/rows.jsonl", repo_type="dataset"), "rb") as f:
    equal(f.read(), b'{"text": "one"}\n')
equal([m.id for m in api.list_models(author="py")], ["py/model"])

print("huggingface_hub: all as expected")
