import sluice.*;
class First {
  public static void main(String[] arguments) throws Exception {
    try (Sluice sluice = Sluice.connect(); Lease lease = sluice.resources().vramMb(4096).name("whisper").hold()) {
      ProcessBuilder job = new ProcessBuilder("sh", "-c", "echo working on $CUDA_VISIBLE_DEVICES").inheritIO();
      job.environment().putAll(lease.environment());
      job.start().waitFor();
    }
  }
}
