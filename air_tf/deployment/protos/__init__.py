r"""TF Serving's settings messages that tensorflow-serving-api does not ship.

The .proto files declare the messages of TensorFlow Serving (Copyright The TensorFlow
Serving Authors, Apache License 2.0) that air_tf reads, field for field. The package
name is our own, so that they never clash with TF Serving's in a descriptor pool.

Everything named *_pb2 is generated. To regenerate it, from the repository's root:

    pip install grpcio-tools==1.74.0
    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
        air_tf/deployment/protos/*.proto

grpcio-tools 1.74 contains protoc 31.1. Its code runs with protobuf 6.31.1, the oldest
that setup.py allows, up to 7.x; code of a later protoc would refuse the oldest.
"""
