//! How memory goes back to the system: what a large buffer took is given back when it is freed.
//!
//! glibc learns from the first large buffers that are freed to keep the next ones, each thread's for itself: a backfill of a million
//! records ends with 180 MB of which it uses half, and one of five million with 270 MB. Told a fixed threshold it learns
//! nothing: 90 MB and 125 MB, at the same processor time. Other C libraries give back by themselves what matters.

/// Buffers from this size on are mapped, and unmapped when they are freed. glibc's own first value.
#[cfg(target_env = "gnu")]
const MAPPED: i32 = 128 << 10;

/// Has large buffers given back to the system when they are freed. To be called before there are threads.
pub fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "there is no safe way to tell the allocator, short of starting the process anew")]
    // SAFETY: mallopt only sets a parameter of the allocator, under its lock; the value is one that it takes.
    // What it answers does not matter: without it, memory is only kept for longer.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
