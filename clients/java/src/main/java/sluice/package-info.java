/**
 * Waits for GPU memory, holds it while your code runs, and gives it back.
 *
 * <p>Begin with {@link sluice.Sluice}. Sizes are MiB everywhere. The contract's own messages and stubs are in {@code sluice.v1}.
 */
package sluice;
