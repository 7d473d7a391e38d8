"""Reads Kafka records as CloudEvents: a JSON object per line in, with headers, key and value in base64; one out."""

import base64
import json
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

for line in sys.stdin:
    record = json.loads(line)
    event = from_binary_event(
        KafkaMessage(
            headers={name: base64.b64decode(value) for name, value in record["headers"].items()},
            key=base64.b64decode(record["key"]),
            value=base64.b64decode(record["value"]),
        )
    )
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    print(json.dumps({"attributes": attributes, "data": event.get_data()}))
