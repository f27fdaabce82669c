package peers;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import org.apache.camel.AggregationStrategy;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.kafka.KafkaConstants;
import org.apache.camel.main.Main;

/** Apache Camel: an aggregator by family, a hundred a call, four at once. */
public final class CamelBridge extends RouteBuilder {
  private static final String CALL = "call";

  public static void main(String[] args) throws Exception {
    Main main = new Main();
    main.configure().addRoutesBuilder(new CamelBridge());
    main.run();
  }

  @Override
  public void configure() {
    String brokers = "?brokers=" + Pim.BOOTSTRAP;
    errorHandler(
        defaultErrorHandler()
            .maximumRedeliveries(6)
            .redeliveryDelay(500)
            .useExponentialBackOff()
            .backOffMultiplier(2)
            .maximumRedeliveryDelay(8_000));
    onException(Exception.class)
        .onWhen(exchange -> exchange.getProperty(CALL) != null)
        .maximumRedeliveries(6)
        .redeliveryDelay(500)
        .useExponentialBackOff()
        .backOffMultiplier(2)
        .maximumRedeliveryDelay(8_000)
        .handled(true)
        .process(CamelBridge::fail)
        .to("direct:outcomes");
    from("kafka:" + Pim.EVENTS + brokers + "&groupId=" + Pim.GROUP
            + "&autoOffsetReset=earliest&maxPollRecords=" + Pim.BATCH_EVENTS
            + "&sessionTimeoutMs=" + Pim.SESSION_TIMEOUT_MILLISECONDS
            + "&valueDeserializer=org.apache.kafka.common.serialization.ByteArrayDeserializer")
        .process(CamelBridge::read)
        .aggregate(header("family"), gathering())
        .completionSize(Pim.ASSETS_PER_CALL)
        .completionTimeout(Pim.BATCH_MILLISECONDS)
        .executorService(Executors.newFixedThreadPool(Pim.CALLS_AT_ONCE))
        .process(CamelBridge::prepare)
        .toD(Pim.URL + "/api/rest/v1/asset-families/${header.family}/assets?bridgeEndpoint=true")
        .process(CamelBridge::judge)
        .to("direct:outcomes");
    from("direct:outcomes")
        .split(body())
        .process(
            exchange -> {
              Pim.Outcome one = exchange.getMessage().getBody(Pim.Outcome.class);
              exchange.getMessage().setHeader(KafkaConstants.KEY, one.key());
              exchange.getMessage().setBody(one.value());
            })
        .to("kafka:" + Pim.OUTCOMES + brokers
            + "&valueSerializer=org.apache.kafka.common.serialization.ByteArraySerializer");
  }

  private static void read(Exchange exchange) throws Exception {
    var message = exchange.getMessage();
    Pim.Event event =
        Pim.read(
            message.getHeader(KafkaConstants.TOPIC, String.class),
            message.getHeader(KafkaConstants.PARTITION, Integer.class),
            message.getHeader(KafkaConstants.OFFSET, Long.class),
            message.getBody(byte[].class));
    message.setHeader("family", event.family());
    message.setBody(event);
  }

  private static AggregationStrategy gathering() {
    return (before, next) -> {
      Pim.Event event = next.getMessage().getBody(Pim.Event.class);
      if (before == null) {
        next.getMessage().setBody(new ArrayList<>(List.of(event)));
        return next;
      }
      before.getMessage().getBody(List.class).add(event);
      return before;
    };
  }

  private static void prepare(Exchange exchange) {
    List<Pim.Event> call = exchange.getMessage().getBody(List.class);
    exchange.setProperty(CALL, call);
    String family = exchange.getMessage().getHeader("family", String.class);
    exchange.getMessage().removeHeaders("*");
    exchange.getMessage().setHeader("family", family);
    exchange.getMessage().setHeader(Exchange.HTTP_METHOD, "PATCH");
    exchange.getMessage().setHeader("authorization", Pim.AUTHORIZATION);
    exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
    exchange.getMessage().setBody(Pim.body(call));
  }

  private static void judge(Exchange exchange) throws Exception {
    List<Pim.Event> call = exchange.getProperty(CALL, List.class);
    byte[] body = exchange.getMessage().getBody(byte[].class);
    exchange.getMessage().removeHeaders("*");
    exchange.getMessage().setBody(Pim.outcomes(call, 200, body));
  }

  private static void fail(Exchange exchange) {
    List<Pim.Event> call = exchange.getProperty(CALL, List.class);
    exchange.getMessage().removeHeaders("*");
    exchange.getMessage()
        .setBody(call.stream().map(event -> Pim.outcome(event, "failed")).toList());
  }
}
