import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Runner } from "../run.ts";

const client = fileURLToPath(new URL("../../../clients/java", import.meta.url));
const pom = `${client}/pom.xml`;

/** The first build fetches what it needs: about a minute; later ones take a few seconds. */
const buildMs = 300_000;

/**
 * Java, as Maven builds it into clients/java/target. Scenarios are started without Maven, which would take seconds for each; the
 * flags have the machine start soon rather than run fast.
 */
export function javaRunner(): Runner {
  return {
    language: "java",
    async prepare() {
      for (const [program, flag] of [
        ["javac", "-version"],
        ["mvn", "-version"],
      ] as const) {
        if (spawnSync(program, [flag]).status !== 0)
          return `there is no ${program} (a JDK 17 and Maven 3.8 or newer are needed)`;
      }
      const built = spawnSync("mvn", ["-q", "-B", "-f", pom, "process-test-classes"], { encoding: "utf8", timeout: buildMs });
      if (built.status === 0) return undefined;
      const said = built.stdout.split("\n").find((line) => line.startsWith("[ERROR]"));
      return `mvn failed: ${said ?? built.error?.message ?? `status ${built.status}`}`;
    },
    command: () => {
      const libraries = readFileSync(`${client}/target/classpath`, "utf8").trim();
      const path = [`${client}/target/classes`, `${client}/target/test-classes`, libraries].join(":");
      return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", path, "sluice.ScenarioRunner"];
    },
    // Maven tells on stdout what failed, and stderr is what is shown.
    ownTests: () => ["sh", "-c", 'exec mvn -q -B -f "$0" test >&2', pom],
  };
}
