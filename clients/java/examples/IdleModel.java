import java.io.BufferedReader;
import java.io.InputStreamReader;
import sluice.EvictionRequest;
import sluice.Lease;
import sluice.Sluice;

/**
 * A service that keeps its model loaded while nobody else needs the memory, gives it back when somebody does, and waits for it again
 * with the next question. Questions are lines on stdin.
 */
class IdleModel {
  private final Sluice sluice;
  private Lease lease;

  IdleModel(Sluice sluice) {
    this.sluice = sluice;
  }

  public static void main(String[] arguments) throws Exception {
    try (Sluice sluice = Sluice.connect()) {
      IdleModel model = new IdleModel(sluice);
      BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
      for (String question = questions.readLine(); question != null; question = questions.readLine()) {
        System.out.println(model.answer(question));
      }
      model.unload();
    }
  }

  synchronized String answer(String question) throws InterruptedException {
    if (lease == null || lease.isLost()) {
      lease = sluice.resources().name("idle-model").vramMb(8000).onEviction(this::giveBack).hold();
      // Load the model here, on the GPUs of lease.gpus().
    }
    // Not asked back while this is open.
    try (Lease.Work work = lease.executing()) {
      return question + ": answered on " + lease.gpus().get(0).getUuid();
    }
  }

  /** Called from a thread of the client; a question that is being answered is over before. */
  private void giveBack(Lease asked, EvictionRequest request) {
    System.err.println("giving the memory back: " + request.reason());
    unload();
  }

  private synchronized void unload() {
    if (lease != null) {
      // Free the model here, before the lease says that its memory is free.
      lease.close();
      lease = null;
    }
  }
}
