// Validates objects of kinds that Kubernetes does not bring itself: types and required fields by their schemas, unknown
// fields by the compiler. Takes a JSON list of objects on standard input; prints a line per complaint.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];
const packages = {
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "cert-manager.io": "@kubernetes-models/cert-manager",
};

const lines = [];
let complaints = 0;
for (const [at, object] of JSON.parse(readFileSync(0, "utf8")).entries()) {
  const [group, version] = object.apiVersion.split("/");
  const module = `${packages[group]}/${group}/${version}`;
  const file = ["index.mjs", "index.js"].map((name) => join(modules, module, name)).find(existsSync);
  const kinds = await import(pathToFileURL(file));
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    complaints += 1;
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
  lines.push(`import type { I${object.kind} as T${at} } from "${module}";`);
  lines.push(`export const o${at}: T${at} = ${JSON.stringify(object, null, 1)};`);
}

const folder = mkdtempSync(join(modules, "..", "crds-"));
try {
  writeFileSync(join(folder, "objects.ts"), lines.join("\n"));
  const options = "--noEmit --strict --skipLibCheck --module nodenext --moduleResolution nodenext --target es2022";
  execFileSync(join(modules, ".bin/tsc"), [...options.split(" "), "objects.ts"], { cwd: folder, encoding: "utf8" });
} catch (error) {
  complaints += 1;
  console.log(error.stdout || error.message);
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = complaints ? 1 : 0;
