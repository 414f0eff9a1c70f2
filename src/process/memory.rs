//! How memory goes back to the system: what a large buffer took is given back when it is freed, and what small ones took is shared.
//!
//! glibc learns from the first large buffers that are freed to keep the next ones, and gives each thread a heap of its own
//! that keeps what was freed in it: a backfill of a million records ends with 180 MB of which it uses half, and one of five
//! million with 270 MB. Told fixed thresholds it learns nothing; with eight heaps little lies idle, and threads seldom wait
//! for each other's. The buffers of half a megabyte that the store writes and reads its log with stay below the threshold:
//! mapped and unmapped each time they cost half a million page faults a million records. `benches/README.md` has what was
//! measured. Other C libraries give back by themselves what matters.

/// Buffers from this size on are mapped, and unmapped when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED: i32 = 1 << 20;
/// What may lie idle at the end of a heap before it is given back.
#[cfg(target_env = "gnu")]
const IDLE: i32 = 2 << 20;
/// Heaps that the threads share.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 8;

/// Has large buffers given back to the system when they are freed. To be called before there are threads.
pub fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, MAPPED), (libc::M_TRIM_THRESHOLD, IDLE), (libc::M_ARENA_MAX, HEAPS)]
    {
        #[expect(
            unsafe_code,
            reason = "there is no safe way to tell the allocator, short of starting the process anew"
        )]
        // SAFETY: mallopt only sets a parameter of the allocator, under its lock; the values are ones that it takes.
        // What it answers does not matter: without it, memory is only kept for longer.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}
