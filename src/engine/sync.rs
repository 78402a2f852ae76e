//! Threads, locks and channels. They are the standard library's, or with `--cfg shuttle` those whose interleavings
//! `tests/channels.rs` explores. Only handles and the worker need them; a core has one thread.

use std::time::Duration;

#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    sync::{Mutex, MutexGuard, RwLock},
    thread::{Builder, JoinHandle},
};
pub(super) use std::sync::mpsc::{RecvTimeoutError, TryRecvError, TrySendError};
#[cfg(not(shuttle))]
pub(super) use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    sync::{Mutex, MutexGuard, RwLock},
    thread::{Builder, JoinHandle},
};

/// Receives within `time`. Shuttle has no time: it lets other threads run and reports a timeout if nothing is there.
pub(super) fn receive_within<T>(receiver: &Receiver<T>, time: Duration) -> Result<T, RecvTimeoutError> {
    #[cfg(not(shuttle))]
    return receiver.recv_timeout(time);
    #[cfg(shuttle)]
    {
        let _ = time;
        receiver.try_recv().map_err(|error| match error {
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            TryRecvError::Empty => {
                shuttle::thread::yield_now();
                RecvTimeoutError::Timeout
            }
        })
    }
}
