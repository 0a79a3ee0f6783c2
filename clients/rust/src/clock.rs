//! A clock that nobody sets.

use std::time::Duration;

/// Time on a clock that only goes forward. Where there is such a clock it goes on while the machine sleeps: so does the server's.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is a timespec that lives until the call has returned.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(answer, 0, "every Linux has CLOCK_BOOTTIME");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Time on a clock that only goes forward.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Not 0 at the first call: times before it are reckoned with too.
    START.elapsed() + Duration::from_secs(86_400)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_as_fast_as_the_monotonic_clock() {
        let (outer, inner) = (now(), Instant::now());
        let between = now();
        while inner.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        // Each lies around the other, however late this thread is.
        let instants = inner.elapsed();
        assert!(now() - outer >= instants);
        let times = now() - between;
        assert!(times <= inner.elapsed());
    }
}
