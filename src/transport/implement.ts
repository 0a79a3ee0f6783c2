import type { DescService } from "@bufbuild/protobuf";
import { createServiceImplSpec, type ServiceImpl, type ServiceImplSpec } from "@connectrpc/connect";

/** A service with its implementation, as the doors take them. Methods that are left out answer UNIMPLEMENTED. */
export function implement<Desc extends DescService>(service: Desc, impl: Partial<ServiceImpl<Desc>>): ServiceImplSpec {
  return createServiceImplSpec(service, impl);
}
