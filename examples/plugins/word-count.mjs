// Run by word-count.json: arguments come as JSON on stdin, the result goes as JSON into the last line of stdout.
import { text as readAll } from "node:stream/consumers";

const { text } = JSON.parse(await readAll(process.stdin));
process.stderr.write(`counting ${text.length} characters\n`);
const words = text.split(/\s+/).filter((word) => word !== "").length;
const lines = text.split("\n").length;
process.stdout.write(`${JSON.stringify({ words, lines, gpus: process.env.CUDA_VISIBLE_DEVICES ?? "" })}\n`);
