//! The end of the process in order (`halt`): recordings that are open then are
//! completed, and say that this is how they ended. Where the process is killed,
//! aborts, or writes a crash dump, none of this runs.

use std::time::{Duration, Instant};

use crate::{keeper, registry};

/// How long the end of the process waits for its recordings at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has recordings completed when the process ends in order. Called once.
#[cfg(target_env = "gnu")]
pub fn watch() {
    use std::ffi::{c_int, c_void};
    use std::sync::Once;

    unsafe extern "C" {
        fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }

    extern "C" fn ended(status: c_int, _argument: *mut c_void) {
        // A panic must not leave a function that C calls.
        let _ = std::panic::catch_unwind(|| close_all(&format!("the VM halted with status {status}")));
    }

    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the function lives as long as the process, as the library is never
        // unloaded; it takes the null that is given here and does not look at it. Where
        // there is no room for it, recordings end as they do when the process is killed.
        let _ = unsafe { on_exit(ended, std::ptr::null_mut()) };
    });
}

/// Other C libraries do not tell the status, and recordings end as if killed.
#[cfg(not(target_env = "gnu"))]
pub fn watch() {}

/// Asks all keepers to end their recordings, and waits for them: not for ever, the
/// thread that ends the process may be one they wait for.
pub fn close_all(reason: &str) {
    registry::close_all(reason);
    let asked = Instant::now();
    while keeper::open() > 0 && asked.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}
