//! The C library's allocator: large buffers return to the system when they are freed, and threads share a few heaps.
//!
//! By default glibc raises its threshold when large buffers are freed, so that it keeps the next ones, and gives each thread a
//! heap that keeps what was freed in it: a backfill of a million records ends with 180 MB of which it uses half, and one of five
//! million with 270 MB. Fixed thresholds prevent the first; with eight heaps little memory is idle, and threads rarely wait for
//! each other. sled's buffers of half a megabyte stay below the threshold: mapped and unmapped each time, they cost half a
//! million page faults for a million records. `benches/README.md` has the measurements. Other C libraries need none of this.

/// Buffers of at least this size are mapped, and unmapped when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED: i32 = 1 << 20;
/// Idle bytes at the end of a heap above which they return to the system.
#[cfg(target_env = "gnu")]
const IDLE: i32 = 2 << 20;
/// Heaps that the threads share.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 8;

/// Returns idle memory to the system, from between what is in use, too. Many small buffers that come and go leave it there: records of
/// 100 000 hours in no order twice as much as they need. It takes milliseconds, and as long again until what was returned is back.
pub(crate) fn give_back_idle_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator has no safe interface")]
    // SAFETY: malloc_trim takes the allocator's locks, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the allocator return large buffers to the system when they are freed. Call it before the first thread starts.
pub fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, MAPPED), (libc::M_TRIM_THRESHOLD, IDLE), (libc::M_ARENA_MAX, HEAPS)]
    {
        #[expect(
            unsafe_code,
            reason = "the allocator has no safe interface, and reads its environment variables only at the start of the process"
        )]
        // SAFETY: mallopt only sets a parameter of the allocator, under its lock; the values are valid ones.
        // Its result does not matter: if it fails, memory is only kept for longer.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}
