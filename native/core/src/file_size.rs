//! Files larger than the process may make them (`ulimit -f`, `LimitFSIZE` of systemd):
//! an error to whoever makes one, and not the signal that ends the VM.

/// Does the work with SIGXFSZ blocked on this thread: what would be too large is answered
/// with EFBIG. A signal that came for it is taken, so that nobody gets it later.
pub(crate) fn without_signal<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: sigset_t is plain data; it is filled in below.
    let mut signal: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut old = signal;
    // SAFETY: a set of our own.
    unsafe { libc::sigemptyset(&mut signal) };
    // SAFETY: as above.
    unsafe { libc::sigaddset(&mut signal, libc::SIGXFSZ) };
    // SAFETY: two sets of our own; only this thread's mask changes.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signal, &mut old) };
    let result = work();
    // SAFETY: a set that was filled in by the call above.
    let was_blocked = unsafe { libc::sigismember(&old, libc::SIGXFSZ) } == 1;
    if !was_blocked {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a set and a time of our own; nothing is asked about the signal.
        while unsafe { libc::sigtimedwait(&signal, std::ptr::null_mut(), &at_once) } == libc::SIGXFSZ {}
        // SAFETY: as above, with the mask it had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    }
    result
}
