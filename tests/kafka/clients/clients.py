"""Other people's clients on our topics. Each command prints one JSON object per record, for the test to compare.

clients.py confluent|aiokafka|cloudevents BOOTSTRAP TOPIC      read a topic of alerts to its end, committed records only
clients.py fastavro BOOTSTRAP TOPIC SCHEMA ECHO                decode a topic of Avro bodies; write each back, by fastavro, to
                                                               topic ECHO with "fastavro" as its host
"""

import asyncio
import io
import json
import sys

import aiokafka
import confluent_kafka
import fastavro
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from fastavro.schema import fingerprint, to_parsing_canonical_form

SILENCE_S_MAX = 30


def emit(**fields):
    print(json.dumps(fields, ensure_ascii=True))


def read_by_confluent(bootstrap, topic):
    """Every committed record of a topic, partition after partition as they come."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "clients",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    beginning = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, beginning) for partition in partitions])
    left = len(partitions)
    while left:
        message = consumer.poll(SILENCE_S_MAX)
        if message is None:
            sys.exit(f"confluent: nothing came for {SILENCE_S_MAX} s before the end of {topic}")
        if message.error() is None:
            yield message
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            left -= 1
        else:
            sys.exit(f"confluent: {message.error()}")
    consumer.close()


def confluent(bootstrap, topic):
    for message in read_by_confluent(bootstrap, topic):
        headers = [[name, value.decode()] for name, value in message.headers()]
        emit(key=message.key().decode(), headers=headers, value=json.loads(message.value()))


def aiokafka_(bootstrap, topic):
    async def read():
        consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        headers = [[name, value.decode()] for name, value in record.headers]
                        emit(key=record.key.decode(), headers=headers, value=json.loads(record.value))
        finally:
            await consumer.stop()

    asyncio.run(asyncio.wait_for(read(), SILENCE_S_MAX))


def cloudevents(bootstrap, topic):
    for message in read_by_confluent(bootstrap, topic):
        record = KafkaMessage(headers=dict(message.headers()), key=message.key(), value=message.value())
        event = from_binary(record, JSONFormat())
        emit(
            id=event.get_id(),
            source=event.get_source(),
            type=event.get_type(),
            specversion=event.get_specversion(),
            time=event.get_time().isoformat(timespec="milliseconds"),
            subject=event.get_subject(),
            dataschema=event.get_dataschema(),
            datacontenttype=event.get_datacontenttype(),
            data=event.get_data(),
        )


def fastavro_(bootstrap, topic, schema_path, echo):
    with open(schema_path) as file:
        schema = json.load(file)
    canonical = to_parsing_canonical_form(schema)
    # The canonical form has no logical types: Python's dates end in the year 9999, and the extreme examples lie beyond.
    parsed = fastavro.parse_schema(json.loads(canonical))
    # fastavro prints the fingerprint's bytes in the order of the header, little endian.
    header = b"\xc3\x01" + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))

    def single_object(record):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, record)
        return header + body.getvalue()

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for message in read_by_confluent(bootstrap, topic):
        value = message.value()
        body = io.BytesIO(value[len(header) :])
        record = fastavro.schemaless_reader(body, parsed, None)
        emit(
            key=message.key().decode(),
            host=record["host"],
            header_is_ours=value[: len(header)] == header,
            rest=len(body.read()),
            same_bytes=single_object(record) == value,
        )
        record["host"] = "fastavro"
        producer.produce(echo, single_object(record), key=message.key())
    if producer.flush(SILENCE_S_MAX) != 0:
        sys.exit("fastavro: not everything was delivered")


COMMANDS = {"confluent": confluent, "aiokafka": aiokafka_, "cloudevents": cloudevents, "fastavro": fastavro_}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    COMMANDS[command](*arguments)
