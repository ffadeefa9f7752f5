//! Answered requests by handler and status code. The recorder is only told of combinations that have
//! occurred: a full table would be mostly zeros.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::counter;

use super::Handler;
use crate::striped::Striped;

/// The status codes that the gateway sends.
const CODES: [u16; 17] =
    [200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 431, 500, 503];

/// Counts by [`Handler`] and [`CODES`].
#[derive(Debug)]
pub(super) struct Requests(Striped<Vec<AtomicU64>>);

impl Requests {
    pub(super) fn new() -> Requests {
        let places = 0..Handler::ALL.len() * CODES.len();
        Requests(Striped::of(|| places.clone().map(|_| AtomicU64::new(0)).collect()))
    }

    pub(super) fn count(&self, handler: Handler, code: u16) {
        if let Ok(at) = CODES.binary_search(&code) {
            self.0.own()[handler as usize * CODES.len() + at].fetch_add(1, Relaxed);
        }
    }

    /// Tells the recorder in force of the combinations that have occurred.
    pub(super) fn tell(&self) {
        for (nth, handler) in Handler::ALL.iter().enumerate() {
            for (at, code) in CODES.iter().enumerate() {
                let place = nth * CODES.len() + at;
                let count = self.0.all().map(|counts| counts[place].load(Relaxed)).sum::<u64>();
                if count > 0 {
                    let labels =
                        [("handler", handler.word().to_owned()), ("code", code.to_string())];
                    counter!("tallygate_http_requests_total", &labels).absolute(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_can_be_searched() {
        assert!(CODES.is_sorted());
    }
}
