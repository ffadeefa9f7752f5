//! Who waits without being woken by what it waits for: whoever it is expects to be asked again at once,
//! which costs less ([`super::body`]). If that does not happen, nobody must wait for ever.

use std::cell::RefCell;
use std::mem;
use std::task::Waker;
use std::time::Duration;

/// How soon who is overlooked is woken.
const LOOK_EVERY: Duration = Duration::from_millis(100);

thread_local! {
    static OVERLOOKED: RefCell<Overlooked> = RefCell::default();
}

/// Of one worker. Who is in here while another of its tasks runs was not asked again.
#[derive(Default)]
struct Overlooked {
    /// By the number of who waits.
    waiting: Vec<(u64, Waker)>,
    /// So many have ever waited.
    begun: u64,
    /// A task looks after them.
    watched: bool,
}

/// Somebody waits, until it is dropped.
pub(super) struct Waiting(u64);

impl Waiting {
    /// Wakes who waits after a while, if that is not over by then.
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

/// Wakes all who wait, time and again, until nobody has come for a while.
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
