package peers;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import io.confluent.parallelconsumer.RecordContext;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Confluent's Parallel Consumer: in order by key, in batches, an outcome for each event. */
public final class ParallelConsumerBridge {
  public static void main(String[] args) {
    Map<String, Object> reading =
        Map.of(
            "bootstrap.servers", Pim.BOOTSTRAP,
            "group.id", Pim.GROUP,
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false,
            "max.poll.records", Pim.BATCH_EVENTS,
            "session.timeout.ms", Pim.SESSION_TIMEOUT_MILLISECONDS);
    var consumer =
        new KafkaConsumer<>(reading, new StringDeserializer(), new ByteArrayDeserializer());
    Map<String, Object> writing = Map.of("bootstrap.servers", Pim.BOOTSTRAP, "linger.ms", 5);
    var producer = new KafkaProducer<>(writing, new StringSerializer(), new ByteArraySerializer());
    Pim pim = new Pim();
    ParallelStreamProcessor<String, byte[]> processor =
        ParallelStreamProcessor.createEosStreamProcessor(
            ParallelConsumerOptions.<String, byte[]>builder()
                .ordering(ParallelConsumerOptions.ProcessingOrder.KEY)
                .maxConcurrency(Pim.CALLS_AT_ONCE)
                .batchSize(Pim.BATCH_EVENTS)
                .consumer(consumer)
                .producer(producer)
                .build());
    processor.subscribe(List.of(Pim.EVENTS));
    Runtime.getRuntime().addShutdownHook(new Thread(processor::closeDrainFirst));
    processor.pollAndProduceMany(
        context -> {
          List<Pim.Event> events = new ArrayList<>();
          context.forEach(record -> events.add(read(record)));
          List<ProducerRecord<String, byte[]>> told = new ArrayList<>();
          for (List<Pim.Event> call : Pim.calls(events)) {
            for (Pim.Outcome one : pim.upsert(call)) {
              told.add(new ProducerRecord<>(Pim.OUTCOMES, one.key(), one.value()));
            }
          }
          return told;
        });
  }

  private static Pim.Event read(RecordContext<String, byte[]> record) {
    try {
      return Pim.read(record.topic(), record.partition(), record.offset(), record.value());
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }
}
