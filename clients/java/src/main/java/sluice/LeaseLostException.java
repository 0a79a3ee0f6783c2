package sluice;

/** The lease ended while it was held: its memory is no longer reserved, and others may be admitted to it. */
public final class LeaseLostException extends SluiceException {
  private static final long serialVersionUID = 1L;

  LeaseLostException(String message) {
    super(message);
  }
}
