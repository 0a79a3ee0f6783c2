package sluice;

/** Waits for resources at SLUICE_ADDRESS, and is ended from outside. */
final class WaitingProgram {
  private WaitingProgram() {}

  public static void main(String[] arguments) throws InterruptedException {
    Sluice.connect().resources().vramMb(4096).onProgress(System.out::println).hold();
  }
}
