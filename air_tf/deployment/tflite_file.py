"""Reads and changes the contents of .tflite files, which are flatbuffers."""

from collections.abc import Set

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from air_tf.errors import InputError


def add_metadata(content: bytes, name: str, text: str) -> bytes:
    """The contents with one more entry in the metadata."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = list(text.encode())
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def builtin_operations() -> dict[str, int]:
    """Numbers of LiteRT's own operations by name."""
    operators = vars(schema.BuiltinOperator)
    return {name: number for name, number in operators.items() if name.isupper()}


def operations(content: bytes) -> list[str]:
    """Names of the operations in a file, sorted; custom ones as "custom X"."""
    names = {number: name for name, number in builtin_operations().items()}
    model = schema.Model.GetRootAs(content)
    found = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            found.append(f"custom {code.CustomCode().decode()}")
        else:
            found.append(names[number])
    return sorted(found)


def check_operations(content: bytes) -> None:
    """Raises InputError, naming them, for operations that LiteRT does not have."""
    foreign = [
        name
        for name in operations(content)
        if name.startswith("custom") or name.lower().startswith("flex")
    ]
    if foreign:
        raise InputError(
            f"the converted model needs {', '.join(foreign)}; expected only built-in "
            "operations"
        )


def operations_with(
    content: bytes, names: Set[str], num_outputs: Set[int]
) -> list[str]:
    """Names of the results of operations that have one of these numbers of outputs.

    Args:
      content: of the file.
      names: of operations of LiteRT.
      num_outputs: sizes of the last axis of the results.
    """
    numbers = {builtin_operations()[name] for name in names}
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        result = graph.Tensors(operator.Outputs(0))
        if code in numbers and result.Shape(result.ShapeLength() - 1) in num_outputs:
            found.append(result.Name().decode())
    return found
