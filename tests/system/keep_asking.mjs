// Asks until its standard input ends, by both clients that Node has, on connections that they keep;
// never asks twice, and then says how many were answered, and what failed.
//   node keep_asking.mjs ADDRESS KEY

import http from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const [address, key] = process.argv.slice(2);
const url = `${address}/v1/consume`;
const body = JSON.stringify({ customer: "acme", feature: "calls" });
const headers = {
  authorization: `Bearer ${key}`,
  "content-type": "application/json",
  "content-length": String(body.length),
};
const agent = new http.Agent({ keepAlive: true });

const said = { answered: 0, failures: [] };
let ending = false;
process.stdin.resume();
process.stdin.on("end", () => {
  ending = true;
});

async function byFetch() {
  const { "content-length": _, ...lines } = headers;
  const answer = await fetch(url, { method: "POST", headers: lines, body });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(text);
}

function byAgent() {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers, agent }, (answer) => {
      answer.resume();
      answer.on("error", reject);
      answer.on("end", () =>
        answer.statusCode === 200 ? resolve() : reject(new Error(`status ${answer.statusCode}`)),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function keepAsking(ask, milliseconds) {
  while (!ending) {
    try {
      await ask();
      said.answered += 1;
      if (said.answered === 50) console.log("under way");
    } catch (error) {
      said.failures.push(`${ask.name}: ${error.cause ?? error}`);
    }
    await pause(milliseconds);
  }
}

const callers = [];
for (const ask of [byFetch, byAgent]) {
  for (const milliseconds of [20, 20, 20, 150, 700, 1300]) {
    callers.push(keepAsking(ask, milliseconds));
  }
}
await Promise.all(callers);
agent.destroy();
console.log(JSON.stringify(said));
process.exit(0);
