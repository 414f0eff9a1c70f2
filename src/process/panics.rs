//! Panics: which ones print a message, and which do not.
//!
//! A panic that reaches the top is a defect of this program: exit 1, with a line that says so. A panic inside [`quietly`] is how a
//! library reports damaged data, and prints nothing.

use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `action`. Panics in it, on this thread, print nothing; they are not caught.
pub fn quietly<T>(action: impl FnOnce() -> T) -> T {
    let before = QUIET.replace(true);
    let done = action();
    QUIET.set(before);
    done
}

/// Installs the panic hook that keeps [`quietly`]'s promise.
pub fn install() {
    let verbose = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            verbose(info);
        }
    }));
}
