// The package's own entry loads a dozen files about disks, graphics and networks, 40 ms of a start. Its types name the entry only.
declare module "systeminformation/lib/cpu.js" {
  export { currentLoad } from "systeminformation";
}
declare module "systeminformation/lib/memory.js" {
  export { mem } from "systeminformation";
}
