#!/usr/bin/env node
import { isatty } from "node:tty";
import { writeAll } from "../observe/write-all.ts";
import type { CliIo } from "./io.ts";
import { runCli } from "./program.ts";

const errIsTerminal = isatty(2);

const io: CliIo = {
  env: process.env,
  out: (text) => writeAll(1, text),
  err: (text) => writeAll(2, text),
  errIsTerminal,
  columns: () => (errIsTerminal ? process.stderr.columns || 80 : 80),
  now: Date.now,
};

const code = await runCli(process.argv.slice(2), io);
if (code !== 0) process.exitCode = code;
