"""A protoc plugin that answers Python messages (.py, .pyi) and gRPC stubs with the protoc of grpcio-tools.

grpcio-tools has the generator for stubs inside its protoc only, so this runs that protoc on the descriptors that it was given.
Only sluice/ is generated: a folder grpc/ would hide grpcio, and google/rpc/ is in a package of its own that may disagree.
"""

import pathlib
import sys
import tempfile

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> None:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = plugin_pb2.CodeGeneratorResponse()
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    names = [name for name in request.file_to_generate if name.startswith("sluice/")]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out")
        out.mkdir()
        descriptors = pathlib.Path(folder, "descriptors.binpb")
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        arguments = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"--descriptor_set_in={descriptors}", *arguments, *names]) != 0:
            response.error = "the protoc of grpcio-tools failed"
        for path in sorted(p for p in out.rglob("*") if p.is_file()):
            # A file without services would give an empty stub.
            text = path.read_text()
            if path.name.endswith("_pb2_grpc.py") and "class " not in text:
                continue
            response.file.add(name=str(path.relative_to(out)), content=text)
        response.file.add(name="sluice/v1/__init__.py", content='"""Generated messages and stubs of the contract."""\n')
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
