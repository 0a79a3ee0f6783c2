"""Builds a descriptor pool from what server reflection answers, the way Python clients do, and prints what is in it.

Reads serialized FileDescriptorProtos from stdin, each after its length as four bytes, most significant first. Ends with an
error when a file does not fit together with what it imports.
"""

import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool


def read_files(stream):
    files = {}
    while header := stream.read(4):
        (length,) = struct.unpack(">I", header)
        file = descriptor_pb2.FileDescriptorProto.FromString(stream.read(length))
        files[file.name] = file
    return files


def main():
    files = read_files(sys.stdin.buffer)
    pool = descriptor_pool.DescriptorPool()
    added = set()

    def add(name):
        if name in added:
            return
        added.add(name)
        for dependency in files[name].dependency:
            add(dependency)
        pool.AddSerializedFile(files[name].SerializeToString())

    for name in sorted(files):
        add(name)
    for name in sorted(files):
        for service in pool.FindFileByName(name).services_by_name.values():
            for method in service.methods:
                print(f"{service.full_name}/{method.name} {method.input_type.full_name} {method.output_type.full_name}")
    lease = pool.FindMessageTypeByName("sluice.v1.LeasedGpu")
    print("presence", lease.fields_by_name["resident_mb"].has_presence, lease.fields_by_name["vram_mb"].has_presence)


main()
