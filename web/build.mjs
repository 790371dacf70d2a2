// Builds the page: src/ and the libraries in node_modules/ become ../lambda_src/web/, which the function serves.
//
//   index.html             contains its style and names its script by hash
//   operator.html          the operators' page, which only stages with operators serve
//   static/NAME-HASH.js    the script and its lazy chunks; the hash is of the content, so browsers may cache them forever
//   chat-client.js, .d.ts  the helper for other front ends, one readable file with a stable name; also written into the
//                          examples, where git ignores it
//   embed.js               the bubble for other sites, one file with a stable name; the server adds the stage's title,
//                          accent and origins as the argument of its last call
//
// Run by `make page`. A folder given as argument replaces ../lambda_src/web/; then the examples get no copy.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";

const here = import.meta.dirname;
const target = path.resolve(process.argv[2] ?? path.join(here, "../lambda_src/web"));
const fresh = `${target}.fresh`; // complete before it takes the old one's place: a server may be reading that
const common = { absWorkingDir: here, bundle: true, minify: true, legalComments: "none", target: "es2022", charset: "utf8", logLevel: "warning" };

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });

const html = await readFile(path.join(here, "src/index.html"), "utf8");
for (const [name, entry, folder] of [["index", "main", "src"], ["operator", "operator", "src/operator"]]) {
  const scripts = await build({
    ...common, entryPoints: [{ in: path.join(here, folder, "main.js"), out: entry }], outdir: path.join(fresh, "static"),
    format: "esm", splitting: true, metafile: true,
    entryNames: "[name]-[hash]", chunkNames: "[name]-[hash]",
  });
  const style = await build({ ...common, entryPoints: [path.join(here, folder, "page.css")], write: false });
  const script = Object.entries(scripts.metafile.outputs).find(([, output]) => output.entryPoint === `${folder}/main.js`)[0];
  const built = html
    .replace("<!-- style -->", () => `<style>${style.outputFiles[0].text.trim()}</style>`)
    .replace("src/main.js", `static/${path.basename(script)}`);
  await writeFile(path.join(fresh, `${name}.html`), built);
}
await build({
  ...common, minify: false, entryPoints: [path.join(here, "src/chat-client.js")], outdir: fresh, format: "esm",
  banner: { js: "// chatkit-lambda's helper for front ends of your own, built of web/src/chat-client.js and web/src/client/." },
});
await build({
  ...common, entryPoints: [path.join(here, "src/embed.js")], outdir: fresh, format: "esm",
  banner: { js: "(stage=>{" }, footer: { js: "})({})" },
});
await copyFile(path.join(here, "src/chat-client.d.ts"), path.join(fresh, "chat-client.d.ts"));
const copies = process.argv[2] ? [] : [path.join(here, "../examples/react-vite/src"), path.join(here, "../examples/next/app")];
for (const name of ["chat-client.js", "chat-client.d.ts"])
  for (const folder of copies) await copyFile(path.join(fresh, name), path.join(folder, name));

await rm(target, { recursive: true, force: true });
await rename(fresh, target);
