"""tf.Example without TensorFlow: the same message, described here to the protobuf runtime.

A separate descriptor pool avoids a conflict with the message that TensorFlow registers when it is
imported too. Source of the description: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pool, message, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from transforms.formats.shard import RecordError

_DESCRIPTION = """
name: "ig_audit/example.proto"  package: "tensorflow"  syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_REPEATED } }
message_type { name: "FloatList" field { name: "value" number: 1 type: TYPE_FLOAT label: LABEL_REPEATED } }
message_type { name: "Int64List" field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED } }
message_type {
  name: "Feature"
  oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".tensorflow.Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  nested_type {
    name: "FeatureEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.Feature" label: LABEL_OPTIONAL }
  }
  field {
    name: "feature" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features.FeatureEntry" label: LABEL_REPEATED
  }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features" label: LABEL_OPTIONAL }
}
"""


Features = Mapping[str, Sequence[Any]]
"""The values of each feature of a tf.Example: all bytes, all floats or all integers."""


def parse_example(record: bytes) -> Features:
    """Returns the values of each feature of a serialized tf.Example.

    Raises:
        RecordError: `record` is not a tf.Example.
    """
    example = example_class()()
    try:
        example.ParseFromString(record)
    except message.DecodeError as error:
        raise RecordError(f"not a tf.Example: {error}") from error
    return {name: _values(feature) for name, feature in example.features.feature.items()}


def _values(feature: Any) -> Sequence[Any]:
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()


@functools.lru_cache(maxsize=1)
def example_class() -> Any:
    """Returns the message class, whose instances serialize to the same bytes as those of `tf.train.Example`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_DESCRIPTION, FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
