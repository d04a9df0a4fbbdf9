//! What the allocator keeps for itself.

/// Lets all threads share one heap. A heap for each thread, the allocator's default, is quicker
/// where many threads allocate at once, and keeps what one of them had in use at its busiest for
/// ever. To be called before threads are started.
pub fn share_one_heap() {
    // SAFETY: mallopt takes plain numbers and may be called at any time.
    // JUSTIFICATION: the allocator has no safe interface.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that is not in use back to the machine. It takes up to a millisecond, in which nobody
/// else allocates.
pub fn give_back() {
    // SAFETY: malloc_trim takes a plain number and is safe with other threads.
    // JUSTIFICATION: as above.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
