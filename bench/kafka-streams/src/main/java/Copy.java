import java.lang.management.ManagementFactory;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Copies one topic to another with Kafka Streams, exactly once: one thread, its own defaults (a commit every 100 ms), and
 * lz4 as in the bench that starts it. After a quarter of the records, so that the machine is warm, and after the last, it
 * prints how many they were, the nanoseconds of CPU time that this process has used, and those on the wall.
 */
public final class Copy {
    private static long count;

    private Copy() {}

    public static void main(String[] arguments) throws InterruptedException {
        if (arguments.length != 6) {
            System.err.println("expected: BOOTSTRAP FROM TO APPLICATION_ID STATE_DIR RECORDS");
            System.exit(2);
        }
        long records = Long.parseLong(arguments[5]);
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");

        CountDownLatch done = new CountDownLatch(1);
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(arguments[1], Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .peek((key, value) -> {
                    count++;
                    if (count == records / 4 || count == records) {
                        print();
                    }
                    if (count == records) {
                        done.countDown();
                    }
                })
                .to(arguments[2], Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), properties)) {
            streams.start();
            done.await();
        }
    }

    private static void print() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.println(count + " " + system.getProcessCpuTime() + " " + System.nanoTime());
    }
}
