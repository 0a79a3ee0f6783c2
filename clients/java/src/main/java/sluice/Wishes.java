package sluice;

import java.util.function.BiConsumer;

/** What to tell the program that holds a lease, and whether its process is attached. onEviction is null when the lease cannot be asked back. */
final class Wishes {
  final BiConsumer<Lease, EvictionRequest> onEviction;
  final BiConsumer<Lease, String> onLost;
  final boolean attach;

  Wishes(BiConsumer<Lease, EvictionRequest> onEviction, BiConsumer<Lease, String> onLost, boolean attach) {
    this.onEviction = onEviction;
    this.onLost = onLost;
    this.attach = attach;
  }
}
