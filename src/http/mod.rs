//! HTTP: every endpoint, thin. Only this module names actix.
//!
//! | request | handler |
//! |---|---|
//! | `POST`, `PUT /metrics[/<label>/<value>…]` | [`push`] merges the body |
//! | `DELETE /metrics/<label>/<value>…` | [`delete`] removes what was born under this grouping key |
//! | `GET /metrics` | [`scrape`] shows the sums |
//! | `GET /api/v1/status`, `/api/v1/metrics`, `/api/v1/series` | [`api`] |
//! | `DELETE /api/v1/series`, `PUT /api/v1/admin/wipe` | [`api`], with `--web.enable-admin-api` |
//! | `GET /-/healthy`, `/-/ready` | [`probes`] |
//! | `PUT`, `POST /-/quit`, `/-/reload` | [`probes`], with `--web.enable-lifecycle` |
//! | `GET /` | a page that says where to go |
//!
//! There is no router but [`route`]: paths must be matched raw, and no push is ever redirected.

mod api;
mod body;
mod cors;
mod error;
pub mod grouping;
mod guard;
mod overlooked;
mod params;
mod probes;
mod push;
mod pushgateway;
mod route;
mod scrape;
mod server;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpMessage, Payload, Request};
use actix_web::body::{BodySize, MessageBody};
pub use actix_web::http::StatusCode;
use actix_web::http::{ConnectionType, Version};
use actix_web::{HttpResponse, web};
use tokio::sync::Semaphore;

use crate::auth::{Caller, Right};
use crate::gateway::{Gateway, OverLimit, Removed};
use crate::lifecycle::{Lifecycle, Phase};
use crate::telemetry::{Cause, Handler, Limit, Sender};
use cors::Cors;
use error::Problem;
pub use guard::{Guard, Protection};
pub use pushgateway::PushgatewayOptions;
pub use pushgateway::path as group_path;
pub use route::Surface;
use route::{NoRoute, Route};
pub use server::{ServerOptions, Servers, block_on, start};
pub use tls::{ClientCertificates, Tls, TlsError, TlsOptions, TlsSettings};

/// This library logs what clients do to their connections as errors.
pub const NOISY_LIBRARY: &str = "actix_http";

/// Open connections at the management address. They have places of their own: whoever takes all at the
/// main address must not make the gateway look dead to those who watch it.
const MANAGEMENT_CONNECTIONS_MAX: usize = 40;

/// Answers that list what is stored, at a time. Unlike scrapes they are in memory as a whole.
const LISTS_MAX: usize = 4;
/// How long the next one waits for its turn.
const LIST_WAIT: Duration = Duration::from_secs(5);

/// What HTTP needs to know besides the gateway.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The path below which everything is served. No trailing slash.
    pub route_prefix: String,
    /// The status of an accepted push: 200 or 202.
    pub push_success: StatusCode,
    pub enable_lifecycle: bool,
    pub enable_admin_api: bool,
    pub read_body_timeout: Duration,
    /// Our own metrics are on the management listener and not in the main scrape.
    pub own_metrics_apart: bool,
    pub scrapes_max: usize,
    /// The path under which people reach the gateway. No trailing slash.
    pub external_path: String,
    /// Set in pushgateway mode.
    pub pushgateway: Option<PushgatewayOptions>,
    /// Origins of web pages that may push and read; `*` is any.
    pub cors_allowed_origins: Vec<String>,
}

/// Loads the configuration again. Returns a report, or why nothing was changed. May take long.
pub type Reload = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;
/// The flags in force, by name.
pub type Flags = Box<dyn Fn() -> BTreeMap<String, String> + Send + Sync>;

/// Everything that handlers use; one for all workers and listeners.
pub struct Services {
    pub gateway: Arc<Gateway>,
    pub lifecycle: Arc<Lifecycle>,
    pub options: HttpOptions,
    pub guard: Arc<Guard>,
    pub reload: Reload,
    pub flags: Flags,
    scrapes: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    management_connections: Arc<Semaphore>,
    cors: Cors,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Services {
    pub fn new(
        gateway: Arc<Gateway>,
        lifecycle: Arc<Lifecycle>,
        options: HttpOptions,
        guard: Arc<Guard>,
        reload: Reload,
        flags: Flags,
    ) -> Services {
        let scrapes = Arc::new(Semaphore::new(options.scrapes_max.max(1)));
        let lists = Arc::new(Semaphore::new(LISTS_MAX));
        let management_connections = Arc::new(Semaphore::new(MANAGEMENT_CONNECTIONS_MAX));
        let cors = Cors::new(options.cors_allowed_origins.clone());
        Services {
            gateway,
            lifecycle,
            options,
            guard,
            reload,
            flags,
            scrapes,
            lists,
            management_connections,
            cors,
        }
    }

    /// Runs work that may take long on another thread, so that the connections of this worker do not have to
    /// wait for it.
    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Gateway) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let gateway = self.gateway.clone();
        let done = web::block(move || work(&gateway)).await;
        done.map_err(|_| Problem::unavailable("the gateway is stopping"))
    }

    /// As [`Services::offload`], for an answer as large as what is stored: it has a place among
    /// [`LISTS_MAX`] until it is sent, however slow the peer is, and however soon it goes away.
    async fn list<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Gateway) -> T + Send + 'static,
        answer: impl FnOnce(T) -> HttpResponse,
    ) -> Result<HttpResponse, Problem> {
        let turn = tokio::time::timeout(LIST_WAIT, self.lists.clone().acquire_owned());
        let Ok(Ok(place)) = turn.await else {
            return Err(Problem::unavailable("too many lists of what is stored at once"));
        };
        let (done, place) = self.offload(move |gateway| (work(gateway), place)).await?;
        Ok(body::hold(answer(done), place))
    }

    /// Runs work that removes series, and waits until the removal is safe. The log says who asked for it, even
    /// if they have gone away since then.
    async fn remove(
        &self,
        cause: Cause,
        by: Sender,
        work: impl FnOnce(&Gateway) -> Removed + Send + 'static,
    ) -> Result<Removed, Problem> {
        self.gateway.check_writable()?;
        let work = move |gateway: &Gateway| {
            let removed = work(gateway);
            gateway.telemetry().removal_requested(cause, removed.series, &by);
            removed
        };
        let removed = self.offload(work).await?;
        self.gateway.safe(removed.ticket).await?;
        Ok(removed)
    }

    fn flags(&self) -> BTreeMap<String, String> {
        (self.flags)()
    }
}

/// Answers one request, of whichever listener.
///
/// The server allocates and moves the future of every request. So futures that a push rarely needs are
/// boxed, here and below.
async fn dispatch(surface: Surface, services: &Services, mut request: Request) -> HttpResponse {
    let mut payload = request.take_payload();
    let pushgateway = services.options.pushgateway.as_ref().filter(|_| surface == Surface::Main);
    let (handler, response) = match pushgateway {
        Some(options) => {
            Box::pin(pushgateway::answer(services, options, &request, &mut payload)).await
        }
        None => answer(surface, services, &request, &mut payload).await,
    };
    let in_step = body::drain(&mut payload).await;
    let mut response = response.unwrap_or_else(|problem| match pushgateway {
        Some(_) => problem.plain_response(),
        None => problem.response(),
    });
    // HTTP/1.0 has no chunks: the body ends with the connection.
    let ends_by_closing =
        request.version() == Version::HTTP_10 && response.body().size() == BodySize::Stream;
    response.head_mut().no_chunking(ends_by_closing);
    // While draining, the next push on this connection would find it closed (clients R12).
    if ends_by_closing || !in_step || services.lifecycle.phase() == Phase::Draining {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    if !in_step {
        response = body::hold(response, payload);
    }
    if surface == Surface::Main {
        services.cors.decorate(&request, &mut response);
        services.guard.decorate(&mut response);
    }
    services.gateway.telemetry().answered(handler, response.status().as_u16());
    response
}

/// A request that may go on.
enum Received {
    Caller(Caller),
    /// The answer to a browser that asks whether it may send a request.
    Preflight(HttpResponse),
}

/// Everything that is decided by the head of a request, before the body is read.
async fn receive(
    surface: Surface,
    services: &Services,
    request: &Request,
    right: Right,
) -> Result<Received, Problem> {
    check_header(services, request)?;
    if surface == Surface::Management {
        return Ok(Received::Caller(Caller::default()));
    }
    services.guard.receive()?;
    if let Some(answer) = services.cors.preflight(request) {
        return Ok(Received::Preflight(answer));
    }
    let telemetry = services.gateway.telemetry();
    Ok(Received::Caller(services.guard.admit(telemetry, request, right).await?))
}

/// The answer, and what the request is counted as.
async fn answer(
    surface: Surface,
    services: &Services,
    request: &Request,
    payload: &mut Payload,
) -> (Handler, Result<HttpResponse, Problem>) {
    let prefix = &services.options.route_prefix;
    let route = route::route(surface, prefix, request.method(), request.path());
    let handler = route.as_ref().map_or(Handler::Other, Route::handler);
    let right = route.as_ref().map_or(Right::Probe, Route::right);
    let response = match receive(surface, services, request, right).await {
        Ok(Received::Caller(caller)) => match route {
            Ok(route) => answer_route(surface, services, request, payload, caller, route).await,
            Err(NoRoute::NotFound) => Err(Problem::not_found(request.path())),
            Err(NoRoute::MethodNotAllowed { allow }) => Err(Problem::method_not_allowed(allow)),
        },
        Ok(Received::Preflight(response)) => Ok(response),
        Err(problem) => Err(problem),
    };
    (handler, response)
}

async fn answer_route(
    surface: Surface,
    services: &Services,
    request: &Request,
    payload: &mut Payload,
    caller: Caller,
    route: Route<'_>,
) -> Result<HttpResponse, Problem> {
    let needs_state = match route {
        Route::Scrape => surface == Surface::Main,
        Route::Delete { .. } | Route::Metrics | Route::Series => true,
        Route::DeleteSeries | Route::Wipe => true,
        // A push checks this itself, so that it is counted as refused.
        _ => false,
    };
    if needs_state && !services.lifecycle.is_up() {
        return Err(probes::starting(services));
    }
    match route {
        Route::Push { group } => Ok(push::push(services, request, payload, caller, group).await),
        Route::Delete { group } => Box::pin(delete(services, request, &caller, group)).await,
        Route::Scrape => Box::pin(scrape::scrape(surface, services, request)).await,
        Route::Status => Ok(api::status(services)),
        Route::Metrics => Box::pin(api::metrics(services, request)).await,
        Route::Series => Box::pin(api::series(services, request)).await,
        Route::DeleteSeries => Box::pin(api::delete_series(services, request, &caller)).await,
        Route::Wipe => Box::pin(api::wipe(services, guard::sender(request, &caller))).await,
        Route::Healthy => Ok(probes::healthy()),
        Route::Ready => probes::ready(services),
        Route::Quit => probes::quit(services, &guard::sender(request, &caller)),
        Route::Reload => Box::pin(probes::reload(services, &guard::sender(request, &caller))).await,
        Route::Page => Ok(page()),
        Route::Options { allow } => Ok(HttpResponse::Ok().insert_header(("Allow", allow)).finish()),
    }
}

/// `DELETE /metrics/<label>/<value>…`: 202 even if there was nothing to delete (clients R1). A body is
/// ignored.
async fn delete(
    services: &Services,
    request: &Request,
    caller: &Caller,
    group: &str,
) -> Result<HttpResponse, Problem> {
    let grouping = guard::grouping(caller, group).inspect_err(|problem| {
        if let Some(reason) = problem.auth_refusal {
            let telemetry = services.gateway.telemetry();
            telemetry.request_refused(reason, &guard::peer(request), request.path());
        }
    })?;
    let work =
        move |gateway: &Gateway, dry_run: bool| gateway.delete_group(grouping.key(), dry_run);
    api::delete(services, request, caller, work).await
}

fn check_header(services: &Services, request: &Request) -> Result<(), Problem> {
    let found =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let settings = services.gateway.settings();
    settings.limits.check(Limit::HeaderBytes, found).map_err(|over: OverLimit| {
        services.gateway.telemetry().limit_refused(over.limit);
        error::over_limit(over)
    })
}

fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(include_str!("page.html"))
}
