// Drives a Hub server with Hugging Face's own JavaScript client.
//
// Usage: node huggingface_js_client.mjs PACKAGE, where PACKAGE is the folder of
// @huggingface/hub, with HF_ENDPOINT and HF_TOKEN set. Prints what it did; any
// surprise is an exception.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const hub = require(process.argv[2]);
const hubUrl = process.env.HF_ENDPOINT;
const accessToken = process.env.HF_TOKEN;
const common = { hubUrl, accessToken };
const repo = { type: "model", name: "js/model" };

const weights = new Uint8Array(2_000_000);
for (let i = 0; i < weights.length; i++) weights[i] = (i * 7919) >> 3;
const contents = {
  "config.json": new TextEncoder().encode('{"model_type": "gpt2"}\n'),
  "model.safetensors": weights,
  "sub/notes.txt": new TextEncoder().encode("Grüße, 世界\n"),
};

async function collect(generator) {
  const out = [];
  for await (const item of generator) out.push(item);
  return out;
}

async function bytes(path, revision) {
  const blob = await hub.downloadFile({ ...common, repo, path, revision });
  return blob && new Uint8Array(await blob.arrayBuffer());
}

const me = await hub.whoAmI(common);
assert.equal(me.auth.accessToken.role, "write");

const created = await hub.createRepo({ ...common, repo });
assert.equal(created.id, "js/model");
await assert.rejects(hub.createRepo({ ...common, repo }), (e) => e.statusCode === 409);

for (const useXet of [false, true]) {
  const name = useXet ? "xet" : "lfs";
  const files = Object.entries(contents).map(([path, data]) => ({ path: `${name}/${path}`, content: new Blob([data, name]) }));
  files.push({ path: `${name}/again.bin`, content: new Blob([weights]) });
  const done = await hub.uploadFiles({ ...common, repo, files, commitTitle: `files by ${name}`, useXet });
  assert.match(done.commit.oid, /^[0-9a-f]{40}$/);
}

const listed = await collect(hub.listFiles({ ...common, repo, recursive: true }));
const files = listed.filter((f) => f.type === "file").map((f) => f.path);
assert.deepEqual(files, [".gitattributes", ...["lfs", "xet"].flatMap((n) => ["again.bin", "config.json", "model.safetensors", "sub/notes.txt"].map((p) => `${n}/${p}`))]);
const large = listed.find((f) => f.path === "lfs/again.bin");
assert.equal(large.lfs.oid, createHash("sha256").update(weights).digest("hex"));
assert.equal(large.lfs.size, weights.length);

for (const [path, data] of Object.entries(contents)) {
  const want = Buffer.concat([data, Buffer.from("xet")]);
  assert.deepEqual(Buffer.from(await bytes(`xet/${path}`)), want);
}
assert.equal(await bytes("nowhere.txt"), null);
assert.equal(await hub.fileExists({ ...common, repo, path: "lfs/config.json" }), true);
assert.equal(await hub.fileExists({ ...common, repo, path: "nowhere" }), false);
const info = await hub.fileDownloadInfo({ ...common, repo, path: "lfs/again.bin" });
assert.equal(info.size, weights.length);

const history = await collect(hub.listCommits({ ...common, repo }));
assert.deepEqual(history.map((c) => c.title), ["files by xet", "files by lfs", "initial commit"]);
assert.equal(await hub.countCommits({ ...common, repo }), 3);
const old = await collect(hub.listFiles({ ...common, repo, revision: history[1].oid }));
assert.deepEqual(old.map((f) => f.path), [".gitattributes", "lfs"]);

await hub.createBranch({ ...common, repo, branch: "dev" });
await hub.uploadFile({ ...common, repo, branch: "dev", file: { path: "empty.txt", content: new Blob([]) } });
await hub.deleteFile({ ...common, repo, branch: "dev", path: "lfs/config.json" });
const dev = await collect(hub.listFiles({ ...common, repo, revision: "dev", recursive: true }));
assert.ok(dev.some((f) => f.path === "empty.txt") && !dev.some((f) => f.path === "lfs/config.json"));
assert.equal((await bytes("empty.txt", "dev")).length, 0);
await assert.rejects(hub.commit({ ...common, repo, title: "late", parentCommit: history[1].oid, operations: [{ operation: "addOrUpdate", path: "x", content: new Blob(["x"]) }] }), (e) => e.statusCode === 412);
const paths = await hub.pathsInfo({ ...common, repo, paths: ["lfs/config.json", "nowhere", "lfs"] });
assert.deepEqual(paths.map((p) => p.path), ["lfs/config.json", "lfs"]);

const model = await hub.modelInfo({ ...common, name: "js/model" });
assert.equal(model.name, "js/model");
const data = await hub.createRepo({ ...common, repo: { type: "dataset", name: "js/data" }, private: true });
assert.equal(data.id, "js/data");
await hub.uploadFile({ ...common, repo: { type: "dataset", name: "js/data" }, file: { path: "rows.jsonl", content: new Blob(['{"text":"one"}\n']) } });
await assert.rejects(collect(hub.listFiles({ hubUrl, repo: { type: "dataset", name: "js/data" } })), (e) => e.statusCode === 401);
const models = await collect(hub.listModels({ ...common, search: { owner: "js" } }));
assert.deepEqual(models.map((m) => m.name), ["js/model"]);

console.log("@huggingface/hub: all as expected");
