//! `/-/…`: is it alive, is it ready, stop, reload.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;

use super::Services;
use super::error::Problem;
use crate::lifecycle::Phase;
use crate::telemetry::Sender;

/// Takes no lock and looks at nothing: the process answers, and that is all it says.
pub(super) fn healthy() -> HttpResponse {
    ok("OK")
}

/// # Errors
/// 503 while starting or going down, and while the store cannot be written: other replicas may be able
/// to take what this one would refuse.
pub(super) fn ready(services: &Services) -> Result<HttpResponse, Problem> {
    match services.lifecycle.phase() {
        Phase::Ready => services.gateway.check_writable().map(|()| ok("OK")).map_err(Problem::from),
        Phase::Starting => Err(starting(services)),
        Phase::Draining => Err(Problem::unavailable("the gateway is stopping")),
    }
}

/// The answer to everything but probes while state is being loaded. A part of it would look as if counters
/// had fallen.
pub(super) fn starting(services: &Services) -> Problem {
    let records = services.lifecycle.loaded();
    Problem::unavailable(format!("the gateway is starting: {records} records are loaded so far"))
}

/// # Errors
/// 403 where the lifecycle API is off.
pub(super) fn quit(services: &Services, by: &Sender) -> Result<HttpResponse, Problem> {
    lifecycle(services)?;
    services.gateway.telemetry().stop_requested(by);
    services.lifecycle.ask_to_quit();
    Ok(ok("Stopping. Goodbye!\n"))
}

/// # Errors
/// 403 where the lifecycle API is off, 400 if the new configuration is no good; the old one stays.
pub(super) async fn reload(services: &Services, by: &Sender) -> Result<HttpResponse, Problem> {
    lifecycle(services)?;
    services.gateway.telemetry().reload_requested(by);
    let reload = services.reload.clone();
    // It reads files, and a disk may hang.
    match services.offload(move |_| reload()).await? {
        Ok(report) => Ok(ok(&report)),
        Err(reason) => Err(Problem::bad_request(reason)),
    }
}

fn lifecycle(services: &Services) -> Result<(), Problem> {
    match services.options.enable_lifecycle {
        true => Ok(()),
        false => Err(Problem::not_enabled("--web.enable-lifecycle")),
    }
}

fn ok(text: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header(("Cache-Control", "no-store"))
        .body(text.to_owned())
}
