//! The HTTP surface of `--mode=pushgateway`: that of the Prometheus Pushgateway, down to its messages
//! (pushgateway-contract; docs/pushgateway-mode.md lists the differences).
//!
//! | request | handler |
//! |---|---|
//! | `PUT`, `POST`, `DELETE /metrics/job/<job>[/<label>/<value>…]` | [`push`] |
//! | `GET /metrics` (`--web.telemetry-path`) | [`super::scrape`], without OpenMetrics |
//! | `GET /api/v1/status`, `/api/v1/metrics`, `PUT /api/v1/admin/wipe` | [`api`] |
//! | `GET /-/healthy`, `/-/ready`, `PUT`, `POST /-/quit` | here |
//! | `GET /`, `/status`, `/static/…` | [`page`] |
//!
//! Errors are plain text on one line.

mod api;
mod json;
mod page;
pub mod path;
mod push;
mod route;

use actix_http::{Payload, Request};
use actix_web::HttpResponse;
use actix_web::http::{Method as HttpMethod, StatusCode, header};

use super::error::Problem;
use super::route::below;
use super::{Received, Services, Surface, guard, probes, scrape};
use crate::auth::{Caller, Right};
use crate::telemetry::{Handler, Method, PushgatewayHandler, Sender};
use route::{NoRoute, Route, Table};

/// Options of pushgateway mode, besides those of both modes.
#[derive(Clone, Debug)]
pub struct PushgatewayOptions {
    /// Where scrapes go; begins with a slash.
    pub telemetry_path: String,
    /// A push is answered with 202, even if it could be read but not stored.
    pub consistency_unchecked: bool,
    /// A push may ask to be added up.
    pub allow_mode: bool,
}

/// Answers one request. Also returns what it counts as.
pub(super) async fn answer(
    services: &Services,
    options: &PushgatewayOptions,
    request: &Request,
    payload: &mut Payload,
) -> (Handler, Result<HttpResponse, Problem>) {
    let table =
        Table { telemetry_path: &options.telemetry_path, admin: services.options.enable_admin_api };
    let path = path::decode(request.path());
    let route = match &path {
        Ok(path) => match below(&services.options.route_prefix, path) {
            Some(path) => table.route(request.method(), path),
            None => Err(NoRoute::NotFound),
        },
        Err(_) => Err(NoRoute::NotFound),
    };
    let right = route.as_ref().map_or(Right::Probe, Route::right);
    let response = match super::receive(Surface::Main, services, request, right).await {
        Ok(Received::Caller(caller)) => match (path.as_ref(), &route) {
            (Err(error), _) => Err(Problem::bad_request(error.to_string())),
            (_, Ok(route)) => {
                let to = Answering { services, options, request, caller };
                to.answer(payload, *route).await
            }
            (_, Err(NoRoute::NotFound)) => Err(Problem::not_found(request.path())),
            (_, Err(NoRoute::MethodNotAllowed(allow))) => Err(Problem::method_not_allowed(allow)),
        },
        Ok(Received::Preflight(response)) => Ok(response),
        Err(problem) => Err(problem),
    };
    let Ok(route) = &route else { return (Handler::Other, response) };
    let code = match &response {
        Ok(response) => response.status(),
        Err(problem) => problem.status(),
    };
    count(services, route, code, request.method());
    (route.handler(), response)
}

/// A request whose sender is known.
struct Answering<'r> {
    services: &'r Services,
    options: &'r PushgatewayOptions,
    request: &'r Request,
    caller: Caller,
}

impl Answering<'_> {
    fn sender(&self) -> Sender {
        guard::sender(self.request, &self.caller)
    }

    async fn answer(
        &self,
        payload: &mut Payload,
        route: Route<'_>,
    ) -> Result<HttpResponse, Problem> {
        let Answering { services, request, .. } = *self;
        match route {
            Route::Put(group) | Route::Post(group) => self.push(payload, group).await,
            Route::Delete(group) => self.delete(group).await,
            Route::Scrape => scrape::scrape(Surface::Main, services, request).await,
            Route::Healthy => Ok(probes::healthy()),
            Route::Ready => probes::ready(services),
            Route::Quit => probes::quit(services, &self.sender()),
            Route::QuitByGet => Ok(HttpResponse::MethodNotAllowed()
                .content_type("text/plain; charset=utf-8")
                .insert_header((header::ALLOW, "OPTIONS, POST, PUT"))
                .body("Only POST or PUT requests allowed.")),
            Route::Reload => probes::reload(services, &self.sender()).await,
            Route::Status => Ok(api::status(services)),
            Route::Metrics => api::metrics(services).await,
            Route::Wipe => api::wipe(services, self.sender()).await,
            Route::Page => Ok(page::page(services)),
            Route::Static(file) => page::file(file),
            Route::ApiOptions => Ok(api::with_cors(&mut HttpResponse::Ok()).finish()),
            Route::Options(allow) => {
                Ok(HttpResponse::Ok().insert_header((header::ALLOW, allow)).finish())
            }
        }
    }
}

fn count(services: &Services, route: &Route<'_>, code: StatusCode, method: &HttpMethod) {
    let method = match *method {
        HttpMethod::GET => Method::Get,
        HttpMethod::HEAD => Method::Head,
        HttpMethod::PUT => Method::Put,
        HttpMethod::POST => Method::Post,
        HttpMethod::DELETE => Method::Delete,
        _ => Method::Options,
    };
    let handler = match route {
        Route::Put(_) | Route::Post(_) => PushgatewayHandler::Push,
        Route::Delete(_) => PushgatewayHandler::Delete,
        Route::Healthy => PushgatewayHandler::Healthy,
        Route::Ready => PushgatewayHandler::Ready,
        Route::Status => PushgatewayHandler::Status,
        Route::Metrics => PushgatewayHandler::Metrics,
        Route::Wipe => PushgatewayHandler::Wipe,
        Route::Page => PushgatewayHandler::Page,
        Route::Static(_) => PushgatewayHandler::Static,
        Route::ApiOptions => PushgatewayHandler::Options,
        Route::Scrape | Route::Quit | Route::QuitByGet | Route::Reload | Route::Options(_) => {
            return;
        }
    };
    services.gateway.telemetry().pushgateway_answered(handler, code.as_u16(), method);
}

impl Route<'_> {
    fn right(&self) -> Right {
        match self {
            Route::Put(_) | Route::Post(_) | Route::Delete(_) => Right::Push,
            Route::Scrape | Route::Status | Route::Metrics | Route::Page | Route::Static(_) => {
                Right::Scrape
            }
            Route::Wipe | Route::Quit | Route::Reload => Right::Admin,
            Route::Healthy
            | Route::Ready
            | Route::QuitByGet
            | Route::ApiOptions
            | Route::Options(_) => Right::Probe,
        }
    }

    fn handler(&self) -> Handler {
        match self {
            Route::Put(_) | Route::Post(_) => Handler::Push,
            Route::Delete(_) => Handler::Delete,
            Route::Scrape => Handler::Scrape,
            Route::Status => Handler::Status,
            Route::Metrics => Handler::Metrics,
            Route::Wipe => Handler::Wipe,
            Route::Healthy => Handler::Healthy,
            Route::Ready => Handler::Ready,
            Route::Quit | Route::QuitByGet => Handler::Quit,
            Route::Reload => Handler::Reload,
            Route::Page | Route::Static(_) => Handler::Page,
            Route::ApiOptions | Route::Options(_) => Handler::Other,
        }
    }
}
