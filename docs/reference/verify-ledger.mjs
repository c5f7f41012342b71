// node verify-ledger.mjs RUN: does the chain of a run's ledger hold, and do its checkpoints fit?
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const run = process.argv[2], faults = [], steps = new Map(), saved = new Map(), zeros = "0".repeat(64);

const ledger = readFileSync(`${run}/ledger.jsonl`);
const lines = ledger.toString("latin1").split("\n");
if (lines.pop() !== "") faults.push("the last line is cut off");
let before = zeros, step = 0;
const kinds = lines.map((line, i) => {
  let entry = {};
  try { entry = JSON.parse(line); } catch { faults.push(`line ${i + 1} is no JSON`); }
  if (entry.prev !== before) faults.push(`line ${i + 1}: the line before has another hash`);
  if (entry.kind === "step" && entry.step !== ++step) faults.push(`line ${i + 1}: not step ${step}`);
  if (entry.kind === "step") steps.set(entry.step, entry);
  if (entry.kind === "checkpoint") saved.set(entry.file, entry);
  before = sha256(line);
  return entry.kind;
});
for (const [kind, place] of [["run", 0], ["end", kinds.length - 1]])
  if (kinds.indexOf(kind) !== place || kinds.lastIndexOf(kind) !== place) faults.push(`no line ${kind} in its one place`);

const folder = `${run}/checkpoints`, types = { F32: "<f4", F64: "<f8", F16: "<f2", I64: "<i8", I32: "<i4", U8: "|u1" };
for (const name of existsSync(folder) ? readdirSync(folder).filter((file) => saved.has(file)) : []) {
  const bytes = readFileSync(`${folder}/${name}`), size = Number(bytes.readBigUInt64LE(0)), line = saved.get(name);
  const { __metadata__: about, ...arrays } = JSON.parse(bytes.subarray(8, 8 + size).toString());
  const digest = about["kinone.digest"], at = bytes.indexOf(digest);
  bytes.write(zeros, at, "latin1"); // the digest is of the file without it
  if (sha256(bytes) !== digest) faults.push(`${name}: its bytes are others`);
  if (line.digest !== digest) faults.push(`${name}: the ledger has another digest of it`);
  if (JSON.parse(about.kinone).training.progress.head !== line.prev) faults.push(`${name} belongs to another line`);
  const weights = Object.keys(arrays).filter((key) => !key.startsWith("kinone/")).sort().map((key) => {
    const { dtype, shape, data_offsets: [first, end] } = arrays[key];
    const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
    return `${key} ${types[dtype]} ${tuple} ${sha256(bytes.subarray(8 + size + first, 8 + size + end))}\n`;
  });
  const known = steps.get(line.step)?.weights; // of step 0 there is no line
  if (known && sha256(weights.join("")) !== known) faults.push(`${name}: its weights are others`);
}
console.log(faults.length ? faults.join("\n") : `${sha256(ledger)}  ${kinds.length} lines`);
process.exitCode = faults.length ? 1 : 0;
