package sluice;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Resources that are held through the hand-written layer, and what it told about them. */
final class ScenarioHold {
  record News(String event, JsonElement what) {}

  final BlockingQueue<News> told = new LinkedBlockingQueue<>();
  private final Resources resources;
  private final boolean wait;
  private volatile Lease lease;

  ScenarioHold(Sluice client, JsonObject asked) {
    resources =
        client
            .resources()
            .onProgress(waiting -> told.add(new News("waiting", ScenarioWords.waiting(waiting))))
            .onLost((lost, why) -> told.add(new News("lost", ScenarioWords.json(Map.of("why", why)))));
    asked.entrySet().forEach(argument -> set(argument.getKey(), argument.getValue()));
    wait = !asked.has("wait") || asked.get("wait").getAsBoolean();
  }

  private void set(String name, JsonElement value) {
    switch (name) {
      case "name" -> resources.name(value.getAsString());
      case "vram_mb" -> resources.vramMb(value.getAsInt());
      case "ram_mb" -> resources.ramMb(value.getAsInt());
      case "gpus" -> resources.gpus(value.getAsInt());
      case "exclusive" -> resources.exclusive(value.getAsBoolean());
      case "tenant" -> resources.tenant(value.getAsString());
      case "priority" -> resources.priority(value.getAsInt());
      case "timeout_s" -> resources.timeout(seconds(value));
      case "ttl_s" -> resources.ttl(seconds(value));
      case "policy" -> resources.policy(value.getAsString());
      case "request_id" -> resources.requestId(value.getAsString());
      case "evictable" -> resources.onEviction(
          (asked, request) ->
              told.add(new News("eviction_requested", ScenarioWords.json(Map.of("reason", request.reason())))));
      case "wait" -> {}
      default -> throw new ScenarioMatch.Mismatch("there is no argument " + name);
    }
  }

  JsonElement enter() throws InterruptedException {
    lease = wait ? resources.hold() : resources.holdNow();
    return ScenarioWords.toJson(lease.message());
  }

  void release() {
    Lease held = lease;
    lease = null;
    held.close();
  }

  /** What a child process would find. */
  JsonElement environment() {
    ProcessBuilder child = new ProcessBuilder("true");
    if (lease != null) {
      child.environment().putAll(lease.environment());
    }
    return ScenarioWords.json(child.environment());
  }

  private static Duration seconds(JsonElement value) {
    return Duration.ofNanos((long) (value.getAsDouble() * 1e9));
  }
}
