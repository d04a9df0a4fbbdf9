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

/// Gives memory that is not in use back to the machine: what the allocator keeps, and pages of the
/// program itself. Of those the kernel maps many around each that is needed, and so with time all;
/// what is needed again comes back from its cache. It takes up to a millisecond, in which nobody
/// else allocates.
pub fn give_back() {
    // SAFETY: malloc_trim takes a plain number and is safe with other threads; `let_go` keeps to
    // what its caller promises.
    // JUSTIFICATION: as above.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
        libc::dl_iterate_phdr(Some(let_go), std::ptr::null_mut());
    }
}

/// Unmaps those parts of a program that are never written to.
///
/// # Safety
/// `info` describes a program that is loaded.
#[cfg(target_env = "gnu")]
unsafe extern "C" fn let_go(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    const PAGE: usize = 4096;
    // SAFETY: the loader describes the program with as many headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (base + header.p_vaddr) as usize;
        // A page at an edge may belong to a part that is written to, too.
        let first = start.next_multiple_of(PAGE);
        let last = (start + header.p_memsz as usize) / PAGE * PAGE;
        if first < last {
            // SAFETY: the range is mapped from the program's file for reading alone, so that its
            // pages are the file's whenever they are needed again.
            unsafe { libc::madvise(first as *mut libc::c_void, last - first, libc::MADV_DONTNEED) };
        }
    }
    0
}
