package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What both Java bridges share: where things are, events to a PATCH, an answer to results. */
final class Pim {
  static final ObjectMapper JSON = new ObjectMapper();
  static final String BOOTSTRAP = System.getenv("PEER_BOOTSTRAP");
  static final String EVENTS = System.getenv("PEER_EVENTS");
  static final String OUTCOMES = System.getenv("PEER_OUTCOMES");
  static final String GROUP = System.getenv("PEER_GROUP");
  static final String URL = System.getenv("PEER_PIM_URL");
  static final String AUTHORIZATION = "Bearer " + System.getenv("PEER_PIM_TOKEN");

  static final int ASSETS_PER_CALL = 100;
  static final int CALLS_AT_ONCE = 4;
  /** Of twenty families: so that a call carries a hundred assets. */
  static final int BATCH_EVENTS = 2_000;
  static final int BATCH_MILLISECONDS = 2_000;
  static final int SESSION_TIMEOUT_MILLISECONDS = 6_000;
  private static final long[] WAITS = {500, 1_000, 2_000, 4_000, 8_000, 8_000, 0};

  private final HttpClient client =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  /** A change, and where its record stands. */
  record Event(String id, String family, String code, JsonNode values) {}

  /** What became of a change, as a record. */
  record Outcome(String key, byte[] value) {}

  static Event read(String topic, int partition, long offset, byte[] value) throws IOException {
    JsonNode event = JSON.readTree(value);
    if (event.has("data")) { // a structured CloudEvent
      event = event.get("data");
    }
    return new Event(
        topic + "/" + partition + "/" + offset,
        event.get("asset_family").asText(),
        event.get("code").asText(),
        event.get("values"));
  }

  /** By family, a hundred each. */
  static List<List<Event>> calls(Collection<Event> events) {
    Map<String, List<Event>> families = new LinkedHashMap<>();
    events.forEach(e -> families.computeIfAbsent(e.family(), f -> new ArrayList<>()).add(e));
    List<List<Event>> calls = new ArrayList<>();
    for (List<Event> several : families.values()) {
      for (int begin = 0; begin < several.size(); begin += ASSETS_PER_CALL) {
        calls.add(several.subList(begin, Math.min(begin + ASSETS_PER_CALL, several.size())));
      }
    }
    return calls;
  }

  static byte[] body(List<Event> call) {
    ArrayNode assets = JSON.createArrayNode();
    for (Event event : call) {
      ObjectNode asset = assets.addObject().put("code", event.code());
      ObjectNode values = asset.putObject("values");
      event.values().fields().forEachRemaining(v -> values.set(v.getKey(), shaped(v.getValue())));
    }
    try {
      return JSON.writeValueAsBytes(assets);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A bare value as the PIM wants it. */
  private static JsonNode shaped(JsonNode value) {
    if (value.isArray() && !value.isEmpty() && value.get(0).isObject()) {
      return value;
    }
    ArrayNode entries = JSON.createArrayNode();
    JsonNode data = value.isNumber() ? JSON.getNodeFactory().textNode(value.asText()) : value;
    entries.addObject().putNull("locale").putNull("channel").set("data", data);
    return entries;
  }

  /** One result an asset. */
  static List<Outcome> outcomes(List<Event> call, int status, byte[] body) throws IOException {
    JsonNode items = status == 200 ? JSON.readTree(body) : null;
    List<Outcome> told = new ArrayList<>();
    for (int number = 0; number < call.size(); number++) {
      boolean applied = items != null && items.get(number).get("status_code").asInt() < 300;
      told.add(outcome(call.get(number), applied ? "applied" : "rejected"));
    }
    return told;
  }

  static Outcome outcome(Event event, String status) {
    ObjectNode told = JSON.createObjectNode().put("id", event.id());
    told.putObject("data").put("status", status);
    return new Outcome(event.family() + "/" + event.code(), told.toString().getBytes());
  }

  /** Send one call, as often as it takes. */
  List<Outcome> upsert(List<Event> call) {
    HttpRequest request =
        HttpRequest.newBuilder(
                URI.create(
                    URL + "/api/rest/v1/asset-families/" + call.get(0).family() + "/assets"))
            .timeout(Duration.ofSeconds(30))
            .header("authorization", AUTHORIZATION)
            .header("content-type", "application/json")
            .method("PATCH", HttpRequest.BodyPublishers.ofByteArray(body(call)))
            .build();
    try {
      for (long wait : WAITS) {
        long millis = wait;
        try {
          HttpResponse<byte[]> reply =
              client.send(request, HttpResponse.BodyHandlers.ofByteArray());
          if (reply.statusCode() != 429 && reply.statusCode() < 500) {
            return outcomes(call, reply.statusCode(), reply.body());
          }
          millis =
              reply.headers().firstValue("retry-after").filter(t -> t.matches("\\d+"))
                  .map(t -> Long.parseLong(t) * 1_000).orElse(wait);
        } catch (IOException e) {
          // a cut connection: again
        }
        Thread.sleep(wait == 0 ? 0 : millis);
      }
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    return call.stream().map(event -> outcome(event, "failed")).toList();
  }
}
