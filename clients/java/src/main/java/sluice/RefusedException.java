package sluice;

import io.grpc.Status;
import java.util.List;
import java.util.Optional;
import sluice.v1.Types.Reason;
import sluice.v1.Types.Refusal;
import sluice.v1.Types.ResourceRequirements;

/** A no, with its reasons. */
public class RefusedException extends SluiceException {
  private static final long serialVersionUID = 1L;

  private final Refusal refusal;

  RefusedException(String message, Refusal refusal, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
    this.refusal = refusal;
  }

  /** Why not, with the numbers behind each reason (MiB). */
  public List<Reason> reasons() {
    return refusal.getReasonsList();
  }

  /** The largest request of the same shape that this machine could ever hold; empty when there is none. */
  public Optional<ResourceRequirements> largestThatFits() {
    return refusal.hasLargestThatFits() ? Optional.of(refusal.getLargestThatFits()) : Optional.empty();
  }
}
