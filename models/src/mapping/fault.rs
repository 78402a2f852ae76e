//! Survives reads of mapped pages whose file was truncated. The system sends SIGBUS to the reading thread. The handler
//! looks the address up among the watched maps, maps zeroed memory in the place of the lost pages, marks the map, and
//! lets the thread continue. Any other fault is passed to the previous handler.
//!
//! The handler may interrupt anything, so it takes no lock, allocates nothing, and only makes system calls.

use std::ffi::c_int;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A watched range of addresses. Ranges are never freed, since the handler may be reading them; unused ones are reused.
#[derive(Debug, Default)]
struct Range {
    start: AtomicUsize,
    /// 0 while nothing is watched.
    end: AtomicUsize,
    writable: AtomicBool,
    lost: AtomicBool,
    /// Set once, before the handler can see the range.
    next: AtomicPtr<Range>,
}

static RANGES: AtomicPtr<Range> = AtomicPtr::new(ptr::null_mut());
static UNUSED: Mutex<Vec<&'static Range>> = Mutex::new(Vec::new());
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// The previous handler of the signal; set before ours is installed.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

/// Watches a map until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(&'static Range);

impl Watch {
    /// Watches the pages of `bytes`, which must be a whole map and outlive the watch.
    pub(super) fn new(bytes: &[u8], writable: bool) -> io::Result<Watch> {
        (*INSTALLED.get_or_init(install)).map_err(io::Error::from_raw_os_error)?;
        let start = bytes.as_ptr() as usize;
        let range = take_range();
        range.lost.store(false, Ordering::Relaxed);
        range.writable.store(writable, Ordering::Relaxed);
        range.start.store(start, Ordering::Relaxed);
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        range.end.store((start + bytes.len()).next_multiple_of(page_bytes), Ordering::Release);
        Ok(Watch(range))
    }

    /// Whether lost pages were read.
    pub(super) fn lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::SeqCst);
        UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

fn take_range() -> &'static Range {
    let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(range) = unused.pop() {
        return range;
    }
    let range: &'static Range = Box::leak(Box::default());
    // The lock is held, so nobody else changes the head of the list.
    range.next.store(RANGES.load(Ordering::Relaxed), Ordering::Relaxed);
    RANGES.store(ptr::from_ref(range).cast_mut(), Ordering::Release);
    range
}

fn install() -> Result<(), i32> {
    let failed = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    // SAFETY: plain calls with pointers to values of ours. The handler does only what a signal handler may do.
    unsafe {
        let page_bytes = libc::sysconf(libc::_SC_PAGESIZE);
        PAGE_BYTES.store(usize::try_from(page_bytes).unwrap_or(4096), Ordering::Relaxed);
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 {
            return Err(failed());
        }
        let _ = BEFORE.set(before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        // Runs on the thread's signal stack if it has one, like the standard library's own handler.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
            return Err(failed());
        }
    }
    Ok(())
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes a valid `info`. The address is only compared, never read through.
    let address = unsafe { (*info).si_addr() } as usize;
    if !replace(address) {
        pass_on(signal, info, context);
    }
}

/// Maps zeroed memory where pages of a watched map are lost. `false` when `address` is in no watched map.
fn replace(address: usize) -> bool {
    let mut next = RANGES.load(Ordering::Acquire);
    // SAFETY: ranges are never freed.
    while let Some(range) = unsafe { next.as_ref() } {
        let end = range.end.load(Ordering::Acquire);
        let start = range.start.load(Ordering::Acquire);
        // Read twice: in between, the range may have been reused for another map.
        if end == range.end.load(Ordering::SeqCst) && (start..end).contains(&address) {
            return cover(range, address, end);
        }
        next = range.next.load(Ordering::Acquire);
    }
    false
}

/// Covers everything from the lost page to the end, so that a truncated file costs few faults and not one per page.
fn cover(range: &Range, address: usize, end: usize) -> bool {
    let page = address & !(PAGE_BYTES.load(Ordering::Relaxed) - 1);
    let writable = if range.writable.load(Ordering::Relaxed) { libc::PROT_WRITE } else { 0 };
    // SAFETY: the pages belong to a map that is alive, since a thread is reading it, and they stay mapped throughout.
    let covered = unsafe {
        libc::mmap(
            page as *mut libc::c_void,
            end - page,
            libc::PROT_READ | writable,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    range.lost.store(true, Ordering::Release);
    covered != libc::MAP_FAILED
}

/// Does what would have happened without our handler.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.get();
    match before.map_or(libc::SIG_DFL, |before| before.sa_sigaction) {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: plain calls. The signal is blocked until the handler returns, and then ends the process.
            unsafe {
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
                libc::raise(signal);
            }
        }
        handler if before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0) => {
            type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: the system gave this address as that of a handler with three arguments.
            let handler: Handler = unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: the system gave this address as that of a handler with one argument.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
