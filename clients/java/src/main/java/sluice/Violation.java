package sluice;

/** One field of a request that is wrong. */
public final class Violation {
  private final String field;
  private final String description;

  Violation(String field, String description) {
    this.field = field;
    this.description = description;
  }

  /** The field by its name in the contract, such as {@code workload.priority}. */
  public String field() {
    return field;
  }

  /** What is wrong with it, and what is allowed. */
  public String description() {
    return description;
  }

  @Override
  public String toString() {
    return field + ": " + description;
  }
}
