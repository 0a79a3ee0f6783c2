package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sluice.FakeServer.GPU;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class ExamplesTest {
  @Test
  void the_one_in_the_readme_is_at_most_10_lines_and_runs_as_written() throws Exception {
    Matcher written = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(Path.of("README.md")));
    assertTrue(written.find());
    assertEquals(Files.readString(Path.of("examples/First.java")), written.group(1));
    assertTrue(written.group(1).lines().count() <= 10);
    try (FakeServer server = new FakeServer()) {
      assertEquals("working on " + GPU + "\n", run(server, "examples/First.java", ""));
      assertEquals("whisper", server.waits.get(0).getWorkload().getName());
      assertEquals(List.of("lease-1"), server.released);
    }
  }

  @Test
  void the_model_that_is_idle_answers_each_question_as_work_that_is_counted() throws Exception {
    try (FakeServer server = new FakeServer()) {
      String said = run(server, "examples/IdleModel.java", "one\ntwo\n");
      assertEquals("one: answered on %s\ntwo: answered on %s\n".formatted(GPU, GPU), said);
      assertEquals(List.of("start", "finish", "start", "finish"), server.executions);
      assertEquals(1, server.waits.size());
      assertEquals(List.of("lease-1"), server.released);
    }
  }

  private static String run(FakeServer server, String source, String input) throws Exception {
    Process program = TestPrograms.start(server.address, source);
    try (var stdin = program.outputWriter()) {
      stdin.write(input);
    }
    String said = new String(program.getInputStream().readAllBytes());
    assertTrue(program.waitFor(30, TimeUnit.SECONDS));
    assertEquals(0, program.exitValue());
    return said;
  }
}
