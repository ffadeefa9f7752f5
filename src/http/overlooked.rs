//! Tasks that are not woken by what they wait for. They expect to be polled again at once anyway, which is
//! cheaper ([`super::body`]). If that does not happen, they must not wait for ever.

use std::cell::RefCell;
use std::mem;
use std::task::Waker;
use std::time::Duration;

/// How soon an overlooked task is woken.
const LOOK_EVERY: Duration = Duration::from_millis(100);

thread_local! {
    static OVERLOOKED: RefCell<Overlooked> = RefCell::default();
}

/// The waiting tasks of one worker. A task that is still in here while another one runs was not polled again.
#[derive(Default)]
struct Overlooked {
    /// Wakers, by the number of the task.
    waiting: Vec<(u64, Waker)>,
    /// How many tasks have ever waited.
    begun: u64,
    /// A task is running that looks after them.
    watched: bool,
}

/// A task waits until this is dropped.
pub(super) struct Waiting(u64);

impl Waiting {
    /// Wakes the task after a while, if it still waits then.
    pub(super) fn begin(waker: &Waker) -> Waiting {
        OVERLOOKED.with_borrow_mut(|overlooked| {
            overlooked.begun += 1;
            overlooked.waiting.push((overlooked.begun, waker.clone()));
            if !mem::replace(&mut overlooked.watched, true) {
                actix_web::rt::spawn(watch());
            }
            Waiting(overlooked.begun)
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let own = OVERLOOKED.with_borrow_mut(|overlooked| {
            let own = overlooked.waiting.iter().rposition(|(number, _)| *number == self.0);
            own.map(|at| overlooked.waiting.swap_remove(at))
        });
        drop(own);
    }
}

/// Wakes all waiting tasks from time to time, until no new ones have come for a while.
async fn watch() {
    struct Watched;
    impl Drop for Watched {
        fn drop(&mut self) {
            OVERLOOKED.with_borrow_mut(|overlooked| overlooked.watched = false);
        }
    }

    let _watched = Watched;
    let mut begun = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (waiting, now) = OVERLOOKED
            .with_borrow_mut(|overlooked| (mem::take(&mut overlooked.waiting), overlooked.begun));
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        if mem::replace(&mut begun, now) == now {
            return;
        }
    }
}
