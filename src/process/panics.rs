//! Panics: what a person sees of one, and where none is to be seen.
//!
//! A panic that reaches the top is a defect of this program: exit 1, with a line that says so. One that [`quietly`] surrounds is
//! an answer of a library about damaged data, and prints nothing.

use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `action`; panics inside it, on this thread, print nothing. It does not catch them.
pub fn quietly<T>(action: impl FnOnce() -> T) -> T {
    let before = QUIET.replace(true);
    let done = action();
    QUIET.set(before);
    done
}

/// Installs the one panic message of the crate.
pub fn install() {
    let verbose = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            verbose(info);
        }
    }));
}
