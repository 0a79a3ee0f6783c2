package sluice;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** Programs that tests start in a process of their own. */
final class TestPrograms {
  private TestPrograms() {}

  /** Starts Java with the class path of the tests: a class, or a source file as it is. */
  static Process start(String address, String... program) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(System.getProperty("java.home") + "/bin/java");
    command.addAll(List.of("-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(program));
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().put("SLUICE_ADDRESS", address);
    return builder.start();
  }
}
