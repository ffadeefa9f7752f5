//! Access control: one check for every request at the main address, before anything else is done with
//! it.
//!
//! In this order: the rate limit, then who sends the request, then whether they have the right that the
//! route needs ([`super::route::Route::right`]). Labels that pushes are bound to are checked in
//! [`grouping`], where the path is read. If nothing is configured, all this costs a look at an
//! `Option`.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix_http::{HttpMessage, Request};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

use super::error::Problem;
use crate::auth::{Caller, HeaderError, Identified, Mark, PasswordCheck, Policy, Refusal, Right};
use crate::model::Grouping;
use crate::telemetry::{AuthRefusal, Sender, Telemetry};

/// How many passwords may wait to be checked. Each costs a bcrypt run, and attackers can send any
/// number.
const WAITING_MAX: usize = 64;

/// What every request at the main address is subject to.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// `None` lets everybody do everything.
    pub policy: Option<Arc<Policy>>,
    /// Set on every answer.
    pub headers: Vec<(&'static str, String)>,
    /// One request per interval, after an initial burst of this many.
    pub rate_limit: Option<(Duration, usize)>,
    /// The configuration has become invalid, so every request gets 500.
    pub broken: bool,
}

/// The check. Its protection can be replaced while it is used.
#[derive(Debug)]
pub struct Guard {
    /// `None` if nothing was configured at the start.
    active: Option<ArcSwap<Active>>,
    /// Limits the runs of bcrypt at a time.
    running: Semaphore,
    /// The outcomes of passwords that are being checked or wait for their turn, each held by the
    /// requests that wait for it.
    pending: Mutex<HashMap<Mark, Weak<OnceCell<bool>>>>,
}

/// A protection in force.
#[derive(Debug)]
struct Active {
    protection: Protection,
    headers: Vec<(HeaderName, HeaderValue)>,
    bucket: Option<Arc<Bucket>>,
}

impl Guard {
    /// Lets everybody in, for ever.
    pub fn open() -> Guard {
        Guard { active: None, running: Semaphore::new(1), pending: Mutex::default() }
    }

    pub fn new(protection: Protection) -> Guard {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Guard {
            active: Some(ArcSwap::from_pointee(Active::new(protection, None))),
            // Half of the cores stay free for known clients.
            running: Semaphore::new((cores / 2).max(1)),
            ..Guard::open()
        }
    }

    /// Takes effect with the next request. An unchanged rate limit keeps its state.
    pub fn replace(&self, protection: Protection) {
        if let Some(active) = &self.active {
            active.store(Arc::new(Active::new(protection, Some(&active.load()))));
        }
    }

    /// For a configuration that has become invalid.
    pub fn set_broken(&self) {
        if let Some(active) = &self.active {
            let broken = Protection { broken: true, ..active.load().protection.clone() };
            self.replace(broken);
        }
    }

    fn active(&self) -> Option<Arc<Active>> {
        self.active.as_ref().map(ArcSwap::load_full)
    }

    /// Takes one request from the rate limit.
    ///
    /// # Errors
    /// 429 if the limit is used up, 500 if the configuration has become invalid.
    pub(super) fn receive(&self) -> Result<(), Problem> {
        let Some(active) = self.active() else { return Ok(()) };
        if active.protection.broken {
            return Err(Problem::broken_configuration());
        }
        match active.bucket.as_ref().map_or(Ok(()), |bucket| bucket.take(Instant::now())) {
            Ok(()) => Ok(()),
            Err(wait) => Err(Problem::too_many_requests(wait)),
        }
    }

    /// The sender of the request, if they have `right`.
    ///
    /// # Errors
    /// 401 if the sender is unknown, 403 if they lack the right, 503 if too many passwords wait to be
    /// checked.
    pub(super) async fn admit(
        &self,
        telemetry: &Telemetry,
        request: &Request,
        right: Right,
    ) -> Result<Caller, Problem> {
        let Some(policy) = self.active().and_then(|active| active.protection.policy.clone()) else {
            return Ok(Caller::default());
        };
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        let identified = policy.identify(headers.next().map(HeaderValue::as_bytes), right);
        let outcome = match identified {
            // It is ambiguous which one counts: a proxy may have chosen another one.
            _ if headers.next().is_some() => Err(Refusal::Malformed(HeaderError::Several)),
            Identified::Caller(caller) => Ok(caller),
            Identified::Refused(refusal) => Err(refusal),
            // Boxed, like everything rare, to keep the future of every request small.
            Identified::Ask(check) => match Box::pin(self.ask(check)).await {
                Some(outcome) => outcome,
                None => {
                    telemetry.request_refused(AuthRefusal::Busy, &peer(request), request.path());
                    let detail = "too many passwords are being checked at once";
                    return Err(Problem::unavailable(detail));
                }
            },
        };
        outcome.map_err(|refusal| {
            let reason = match refusal {
                Refusal::Missing => AuthRefusal::Missing,
                Refusal::Malformed(_) => AuthRefusal::Malformed,
                Refusal::Wrong => AuthRefusal::Wrong,
                Refusal::Right(_) => AuthRefusal::Right,
            };
            telemetry.request_refused(reason, &peer(request), request.path());
            match refusal {
                Refusal::Right(right) => Problem::forbidden(refusal.to_string())
                    .hint(format!("the right {} is given in auth.file", right.word())),
                _ => Problem::unauthorized(refusal.to_string(), policy.has_tokens()),
            }
        })
    }

    /// Runs bcrypt on a thread that may block, once for all requests with the same password. `None` if
    /// too many other passwords are waiting already.
    async fn ask(&self, check: PasswordCheck) -> Option<Result<Caller, Refusal>> {
        let outcome = self.pending_outcome(check.mark())?;
        let run = || async {
            let _turn = self.running.acquire().await.map_err(drop)?;
            let check = check.clone();
            web::block(move || check.run()).await.map_err(drop)
        };
        let right = outcome.get_or_try_init(run).await.ok()?;
        Some(check.outcome(*right))
    }

    fn pending_outcome(&self, mark: Mark) -> Option<Arc<OnceCell<bool>>> {
        let mut pending = self.pending.lock();
        if let Some(outcome) = pending.get(&mark).and_then(Weak::upgrade) {
            return Some(outcome);
        }
        pending.retain(|_, outcome| outcome.strong_count() > 0);
        if pending.len() >= WAITING_MAX {
            return None;
        }
        let outcome = Arc::default();
        pending.insert(mark, Arc::downgrade(&outcome));
        Some(outcome)
    }

    /// Sets the configured headers.
    pub(super) fn decorate(&self, response: &mut HttpResponse) {
        for (name, value) in self.active().iter().flat_map(|active| &active.headers) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
}

/// The address of the peer.
pub(super) fn peer(request: &Request) -> String {
    request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default()
}

/// The same with the user, for requests that are logged even if they succeed.
pub(super) fn sender(request: &Request, caller: &Caller) -> Sender {
    Sender { peer: peer(request), user: caller.name.clone() }
}

/// The grouping key in the path of a push or deletion, if the caller may touch it. `path` is what
/// follows `/metrics`, still encoded.
///
/// # Errors
/// 400 if it cannot be read, 403 with the label for which the caller lacks permission.
pub(super) fn grouping(caller: &Caller, path: &str) -> Result<Arc<Grouping>, Problem> {
    let grouping = super::grouping::parse_again(path)?;
    check_scope(caller, &grouping)?;
    Ok(grouping)
}

pub(super) fn check_scope(caller: &Caller, grouping: &Grouping) -> Result<(), Problem> {
    match &caller.scope {
        Some(scope) => scope.check_key(grouping).map_err(Problem::from),
        None => Ok(()),
    }
}

impl Active {
    fn new(protection: Protection, before: Option<&Active>) -> Active {
        let headers = protection.headers.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        });
        let same = before.filter(|before| before.protection.rate_limit == protection.rate_limit);
        let bucket = match same {
            Some(before) => before.bucket.clone(),
            None => protection.rate_limit.map(|limit| Arc::new(Bucket::new(limit))),
        };
        Active { headers: headers.collect(), bucket, protection }
    }
}

/// A token bucket: holds a number of requests, and regains one per interval. It keeps the moment when
/// it will be full again.
#[derive(Debug)]
struct Bucket {
    interval: Duration,
    /// How long it takes to fill when empty.
    span: Duration,
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new((interval, burst): (Duration, usize)) -> Bucket {
        let span = interval.saturating_mul(u32::try_from(burst).unwrap_or(u32::MAX));
        Bucket { interval, span, full_at: Mutex::default() }
    }

    /// Takes one request. If there is none, the error is how long to wait.
    fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let then = missing.saturating_add(self.interval);
        match then.checked_sub(self.span) {
            None | Some(Duration::ZERO) => {
                *full_at = now.checked_add(then);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::auth::{Account, PasswordHash, PasswordMemory, Rights};

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_per_interval() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let bucket = Bucket::new((Duration::from_millis(100), 3));
        for (ms, expected) in [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(100)),
            (60, Err(40)),
            (100, Ok(())),
            (100, Err(100)),
            // It never holds more than its burst.
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_050, Err(50)),
            // If time goes back, none is counted.
            (0, Err(10_100)),
        ] {
            let taken = bucket.take(at(ms));
            assert_eq!(taken, expected.map_err(Duration::from_millis), "at {ms} ms");
        }
    }

    #[test]
    fn few_passwords_are_checked_at_a_time_and_each_of_them_once() {
        let memory = PasswordMemory::default();
        let user = Account {
            name: "u".into(),
            rights: Rights::all(),
            scope: None,
            password: Some(PasswordHash::parse(&bcrypt::hash("p", 4).unwrap()).unwrap()),
            tokens: Vec::new(),
        };
        let policy = Arc::new(Policy::new(vec![user], Rights::default(), memory).unwrap());
        let guard = Guard::open();
        let ask = |password: usize| {
            let credentials = BASE64_STANDARD.encode(format!("u:{password}"));
            let header = format!("Basic {credentials}");
            match policy.identify(Some(header.as_bytes()), Right::Push) {
                Identified::Ask(check) => guard.pending_outcome(check.mark()),
                _ => panic!("this password has not been checked yet"),
            }
        };
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|n| ask(n).unwrap()).collect();
        assert!(ask(WAITING_MAX).is_none());
        assert!(Arc::ptr_eq(&ask(7).unwrap(), &waiting[7]));
        // A request that goes away makes room, unless another one wants the same outcome.
        let other = ask(0);
        waiting.swap_remove(0);
        assert!(ask(WAITING_MAX).is_none());
        drop(other);
        assert!(ask(WAITING_MAX).is_some());
    }

    #[test]
    fn a_limit_that_stays_goes_on() {
        let limit = |rate_limit| Protection { rate_limit, ..Protection::default() };
        let one = Some((Duration::from_secs(3600), 1));
        let guard = Guard::new(limit(one));
        assert!(guard.receive().is_ok());
        assert!(guard.receive().is_err());
        guard.replace(limit(one));
        assert!(guard.receive().is_err());
        guard.replace(limit(Some((Duration::from_secs(3600), 2))));
        assert!(guard.receive().is_ok());
        guard.set_broken();
        assert!(guard.receive().is_err());
        guard.replace(limit(None));
        assert!(guard.receive().is_ok());
    }
}
