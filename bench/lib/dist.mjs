/** The built engine and replay; `npm run build` makes them. */
export { machineFor } from "../../dist/cli/replay-machine.js";
export { defaultSettings, disciplines } from "../../dist/engine/settings.js";
export { createState } from "../../dist/engine/state.js";
export { step } from "../../dist/engine/step.js";
export { builtInPolicies } from "../../dist/policy/load.js";
export { readWork } from "../../dist/replay/read-work.js";
export { VirtualMachine } from "../../dist/replay/virtual-machine.js";
export { replay } from "../../dist/replay/world.js";
