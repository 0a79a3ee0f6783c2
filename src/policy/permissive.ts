import type { ResourceScheduler } from "./resource-scheduler.ts";

/**
 * Admits everything at once. For development: the grant is still placed and booked as well as it can be, so that those who
 * queue see it.
 */
export class PermissiveScheduler implements ResourceScheduler {
  readonly name = "permissive";
  allocate(): boolean {
    return true;
  }
  onExecutionStart(): void {}
  onExecutionFinish(): void {}
}
