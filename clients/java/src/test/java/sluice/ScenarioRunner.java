package sluice;

import static sluice.ScenarioMatch.brief;
import static sluice.ScenarioMatch.field;
import static sluice.ScenarioMatch.match;
import static sluice.ScenarioMatch.matches;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import sluice.ScenarioMatch.Mismatch;

/** Plays one scenario of test/clients/scenarios.yaml. test/clients/README.md says what the words mean. */
final class ScenarioRunner {
  private static final long PATIENCE_MS = 10_000;
  private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private final JsonObject saved = new JsonObject();
  private final Map<String, Sluice> clients = new LinkedHashMap<>();
  private final Map<String, MessageStream<Message>> streams = new HashMap<>();
  private final Map<String, ScenarioHold> holds = new HashMap<>();
  private final Map<String, Future<JsonElement>> background = new HashMap<>();
  private final Map<String, Long> marks = new HashMap<>();
  private final ExecutorService pool = Executors.newCachedThreadPool();

  private ScenarioRunner(JsonObject scenario, JsonObject doors) {
    JsonObject runner = new JsonObject();
    runner.addProperty("pid", ProcessHandle.current().pid());
    saved.add("runner", runner);
    saved.add("doors", doors);
    JsonObject wanted = scenario.has("clients") ? scenario.getAsJsonObject("clients") : new JsonObject();
    if (wanted.size() == 0) {
      wanted.add("main", new JsonObject());
    }
    wanted.entrySet().forEach(entry -> {
      JsonObject how = entry.getValue().getAsJsonObject();
      String address = doors.get(how.has("door") ? how.get("door").getAsString() : "grpc").getAsString();
      clients.put(entry.getKey(), Sluice.connect(address, Duration.ofMillis(number(how, "keepalive_ms", 10_000))));
    });
  }

  public static void main(String[] arguments) throws Exception {
    JsonObject told = JsonParser.parseString(IN.readLine()).getAsJsonObject();
    JsonObject scenario = told.getAsJsonObject("scenario");
    JsonObject verdict = new JsonObject();
    try {
      new ScenarioRunner(scenario, told.getAsJsonObject("doors")).play(scenario.getAsJsonArray("steps"), "");
      verdict.addProperty("passed", true);
    } catch (Mismatch mismatch) {
      verdict.addProperty("passed", false);
      verdict.addProperty("why", mismatch.getMessage());
    }
    OUT.println(verdict);
    // Streams that are still open, and threads that read them, end with the process.
    Runtime.getRuntime().halt(0);
  }

  private void play(JsonArray steps, String path) throws Exception {
    for (int index = 0; index < steps.size(); index++) {
      JsonObject step = steps.get(index).getAsJsonObject();
      String where = path + (index + 1);
      String word = step.keySet().iterator().next();
      if (word.equals("repeat")) {
        for (int turn = 0; turn < step.get("repeat").getAsInt(); turn++) {
          play(step.getAsJsonArray("steps"), where + "[" + turn + "].");
        }
        continue;
      }
      try {
        act(word, ScenarioMatch.resolve(step, saved).getAsJsonObject());
      } catch (Mismatch mismatch) {
        throw new Mismatch("step " + where + " (" + word + " " + step.get(word) + "): " + mismatch.getMessage());
      }
    }
  }

  private void act(String word, JsonObject step) throws Exception {
    switch (word) {
      case "call" -> call(step);
      case "await" -> judge(step, () -> within(background.remove(text(step, "await")), step));
      case "open" -> streams.put(text(step, "as"), open(step));
      case "next" -> until(step, streams.get(text(step, "next")), 1);
      case "until" -> until(step, streams.get(text(step, "until")), number(step, "at_most", Long.MAX_VALUE));
      case "ends" -> judge(step, () -> end(step));
      case "cancel" -> streams.get(text(step, "cancel")).cancel();
      case "drop" -> clients.get(text(step, "drop")).close();
      case "driver" -> askDriver(step.get("driver"));
      case "hold" -> hold(step);
      case "told" -> told(step);
      case "environment" -> match(step.get("expect"), holds.get(text(step, "hold")).environment(), "environment");
      case "release" -> holds.get(text(step, "release")).release();
      case "run" -> startOrJudge(step, () -> run(step));
      case "mark" -> marks.put(text(step, "mark"), System.nanoTime());
      case "elapsed" -> match(step.get("expect"), ms(System.nanoTime() - marks.get(text(step, "elapsed"))), "ms");
      case "check" -> match(step.get("expect"), step.get("check"), "value");
      default -> throw new Mismatch("there is no step " + word);
    }
  }

  /** Acts, and compares what came of it with expect or error. */
  private void judge(JsonObject step, Callable<JsonElement> act) throws Exception {
    JsonElement failure;
    try {
      JsonElement answer = act.call();
      if (step.has("error")) {
        throw new Mismatch("wanted an error, got " + brief(answer));
      }
      match(step.has("expect") ? step.get("expect") : new JsonObject(), answer, "answer");
      save(step, answer);
      return;
    } catch (StatusRuntimeException error) {
      failure = ScenarioWords.callError(error);
    } catch (SluiceException error) {
      failure = ScenarioWords.clientError(error);
    }
    if (!step.has("error")) {
      throw new Mismatch("failed: " + brief(failure));
    }
    match(step.get("error"), failure, "error");
    save(step, failure);
  }

  private void startOrJudge(JsonObject step, Callable<JsonElement> act) throws Exception {
    if (step.has("in_background")) {
      background.put(text(step, "in_background"), pool.submit(act));
    } else {
      judge(step, act);
    }
  }

  private void call(JsonObject step) throws Exception {
    MethodDescriptor<Message, Message> method = ScenarioWords.method(text(step, "call"));
    Message request = ScenarioWords.request(method, step.get("with"));
    Sluice client = client(step);
    long deadline = number(step, "deadline_ms", PATIENCE_MS);
    Callable<JsonElement> act = () -> {
      CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(deadline, TimeUnit.MILLISECONDS);
      return ScenarioWords.toJson(ClientCalls.blockingUnaryCall(client.channel(), method, options, request));
    };
    long start = System.nanoTime();
    while (step.has("for_ms") && System.nanoTime() - start < number(step, "for_ms", 0) * 1_000_000) {
      judge(step, act);
      Thread.sleep(50);
    }
    while (step.has("until_ms")) {
      try {
        judge(step, act);
        return;
      } catch (Mismatch notYet) {
        if (System.nanoTime() - start > number(step, "until_ms", 0) * 1_000_000) {
          throw notYet;
        }
        Thread.sleep(50);
        client.channel().resetConnectBackoff();
      }
    }
    startOrJudge(step, act);
  }

  private MessageStream<Message> open(JsonObject step) {
    MethodDescriptor<Message, Message> method = ScenarioWords.method(text(step, "open"));
    CallOptions options = CallOptions.DEFAULT;
    if (step.has("deadline_ms")) {
      options = options.withDeadlineAfter(number(step, "deadline_ms", 0), TimeUnit.MILLISECONDS);
    }
    Message request = ScenarioWords.request(method, step.get("with"));
    return MessageStream.open(client(step).channel(), method, request, options, 1);
  }

  private void until(JsonObject step, MessageStream<Message> stream, long atMost) throws InterruptedException {
    long end = System.nanoTime() + number(step, "within_ms", PATIENCE_MS) * 1_000_000;
    JsonElement last = JsonNull.INSTANCE;
    for (long count = 0; count < atMost; count++) {
      Message message;
      try {
        message = stream.next(Math.max(0, end - System.nanoTime()));
      } catch (StatusRuntimeException error) {
        throw new Mismatch("the stream failed: " + brief(ScenarioWords.callError(error)) + "; before: " + brief(last));
      } catch (TimeoutException silent) {
        throw new Mismatch("nothing came in time; the last message was " + brief(last));
      }
      if (message == null) {
        throw new Mismatch("the stream ended; the last message was " + brief(last));
      }
      last = ScenarioWords.toJson(message);
      if (matches(step.get("expect"), last)) {
        save(step, last);
        return;
      }
    }
    match(step.get("expect"), last, "message");
  }

  private JsonElement end(JsonObject step) throws InterruptedException {
    try {
      Message message = streams.get(text(step, "ends")).next(number(step, "within_ms", PATIENCE_MS) * 1_000_000);
      if (message != null) {
        throw new Mismatch("wanted the end of the stream, got " + brief(ScenarioWords.toJson(message)));
      }
      return new JsonObject();
    } catch (TimeoutException silent) {
      throw new Mismatch("it did not end in time");
    }
  }

  private void hold(JsonObject step) throws Exception {
    ScenarioHold hold = new ScenarioHold(client(step), step.getAsJsonObject("hold"));
    holds.put(text(step, "as"), hold);
    startOrJudge(step, hold::enter);
  }

  private void told(JsonObject step) throws InterruptedException {
    String wanted = text(step, "event");
    JsonElement expect = step.has("expect") ? step.get("expect") : new JsonObject();
    long end = System.nanoTime() + number(step, "within_ms", PATIENCE_MS) * 1_000_000;
    while (true) {
      long left = Math.max(0, end - System.nanoTime());
      ScenarioHold.News news = holds.get(text(step, "told")).told.poll(left, TimeUnit.NANOSECONDS);
      if (news == null) {
        throw new Mismatch(wanted + " was not told in time");
      }
      if (news.event().equals(wanted) && matches(expect, news.what())) {
        save(step, news.what());
        return;
      }
    }
  }

  private JsonElement run(JsonObject step) throws InterruptedException {
    JsonObject how = step.getAsJsonObject("run");
    List<String> events = new ArrayList<>();
    PluginRun run = client(step).plugin(text(how, "plugin"));
    run.onEvent(event -> events.add(event.getEventCase().name().toLowerCase()));
    if (how.has("policy")) {
      run.policy(text(how, "policy"));
    }
    @SuppressWarnings("unchecked")
    Map<String, Object> arguments = new com.google.gson.Gson().fromJson(field(how, "arguments"), Map.class);
    Object result = run.arguments(arguments == null ? Map.of() : arguments).execute();
    return ScenarioWords.json(Map.of("result", result, "events", events));
  }

  private static JsonElement within(Future<JsonElement> future, JsonObject step) throws Exception {
    try {
      return future.get(number(step, "within_ms", PATIENCE_MS), TimeUnit.MILLISECONDS);
    } catch (TimeoutException late) {
      throw new Mismatch("it is not over in time");
    } catch (ExecutionException failed) {
      throw failed.getCause() instanceof Exception cause ? cause : failed;
    }
  }

  /** Has the driver do something to the world, and waits until it is done. A deed is a word, or a word with an argument. */
  private static void askDriver(JsonElement deed) throws IOException {
    boolean plain = deed.isJsonPrimitive();
    String word = plain ? deed.getAsString() : deed.getAsJsonObject().keySet().iterator().next();
    JsonObject asked = new JsonObject();
    asked.addProperty("driver", word);
    asked.add("argument", plain ? JsonNull.INSTANCE : deed.getAsJsonObject().get(word));
    OUT.println(asked);
    JsonObject answer = JsonParser.parseString(IN.readLine()).getAsJsonObject();
    if (!answer.get("ok").getAsBoolean()) {
      throw new Mismatch("the driver could not " + word + ": " + answer.get("why"));
    }
  }

  private Sluice client(JsonObject step) {
    return step.has("client") ? clients.get(text(step, "client")) : clients.values().iterator().next();
  }

  private void save(JsonObject step, JsonElement answer) {
    if (step.has("save") || step.has("as")) {
      saved.add(step.has("save") ? text(step, "save") : text(step, "as"), answer);
    }
  }

  private static String text(JsonObject object, String name) {
    return object.get(name).getAsString();
  }

  private static long number(JsonObject object, String name, long otherwise) {
    return object.has(name) ? object.get(name).getAsLong() : otherwise;
  }

  private static JsonElement ms(long nanos) {
    return new JsonPrimitive(nanos / 1e6);
  }
}
