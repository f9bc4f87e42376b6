import { readFileSync } from "node:fs";

const [url, ...files] = process.argv.slice(2);
const say = async (answer) => console.log(answer.status, (await answer.text()).replaceAll("\n", " "));

await say(await fetch(`${url}/readyz`));
for (const file of files) {
  const headers = { "content-type": "application/json" };
  await say(await fetch(`${url}/predict`, { method: "POST", headers, body: readFileSync(file) }));
}
