"""tf.Example without TensorFlow: the same message, described here to the protobuf runtime.

A pool of its own keeps it apart from the one that TensorFlow registers when it is imported too.
Source of the description: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from transforms.formats.shard import RecordError

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "BytesList": ("bytes_list", _Field.TYPE_BYTES),
    "FloatList": ("float_list", _Field.TYPE_FLOAT),
    "Int64List": ("int64_list", _Field.TYPE_INT64),
}


def parse_example(record: bytes) -> dict[str, Sequence[Any]]:
    """Returns the values of each feature of a serialized tf.Example.

    Raises:
        RecordError: `record` is none.
    """
    example = _example_class()()
    try:
        example.ParseFromString(record)
    except message.DecodeError as error:
        raise RecordError(f"not a tf.Example: {error}") from error
    return {name: _values(feature) for name, feature in example.features.feature.items()}


def _values(feature: Any) -> Sequence[Any]:
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()


@functools.lru_cache(maxsize=1)
def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="ig_audit/example.proto", package="tensorflow", syntax="proto3")
    feature = descriptor_pb2.DescriptorProto(name="Feature", oneof_decl=[{"name": "kind"}])
    for number, (kind, (name, value_type)) in enumerate(_KINDS.items(), start=1):
        values = _Field(name="value", number=1, type=value_type, label=_Field.LABEL_REPEATED)
        file.message_type.add(name=kind, field=[values])
        feature.field.append(_message_field(name, number, kind, oneof_index=0))
    entry = descriptor_pb2.DescriptorProto(name="FeatureEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry.field.append(_message_field("value", 2, "Feature"))
    repeated = _message_field("feature", 1, "Features.FeatureEntry", label=_Field.LABEL_REPEATED)
    file.message_type.append(feature)
    file.message_type.add(name="Features", field=[repeated], nested_type=[entry])
    file.message_type.add(name="Example", field=[_message_field("features", 1, "Features")])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _message_field(name: str, number: int, kind: str, label: int = _Field.LABEL_OPTIONAL, **more: int) -> _Field:
    return _Field(
        name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=f".tensorflow.{kind}", label=label, **more
    )
