//! The HTTP surface of `--mode=pushgateway`: what the Prometheus Pushgateway offers, in its words
//! (pushgateway-contract; what differs is told in docs/pushgateway-mode.md).
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

use actix_web::http::{Method as HttpMethod, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::Problem;
use super::{Services, Surface, probes, scrape};
use crate::lifecycle::Phase;
use crate::model::exposition::Names;
use crate::telemetry::{Handler, Method, PushgatewayHandler};
use route::{NoRoute, Route, Table};

/// What pushgateway mode needs to know besides what both modes do.
#[derive(Clone, Debug)]
pub struct PushgatewayOptions {
    /// Where scrapes go; begins with a slash.
    pub telemetry_path: String,
    /// A push is answered with 202, also one that could be read but not stored.
    pub consistency_unchecked: bool,
    /// A push may ask to be added up.
    pub allow_mode: bool,
}

/// Answers one request; also, what it counts as.
pub(super) async fn answer(
    services: &Services,
    options: &PushgatewayOptions,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> (Handler, Result<HttpResponse, Problem>) {
    let path = match path::decode(request.path()) {
        Ok(path) => path,
        Err(error) => return (Handler::Other, Err(Problem::bad_request(error.to_string()))),
    };
    let Some(path) = super::route::below(&services.options.route_prefix, &path) else {
        return (Handler::Other, Err(Problem::not_found()));
    };
    let table =
        Table { telemetry_path: &options.telemetry_path, admin: services.options.enable_admin_api };
    let route = match table.route(request.method(), path) {
        Ok(route) => route,
        Err(NoRoute::NotFound) => return (Handler::Other, Err(Problem::not_found())),
        Err(NoRoute::MethodNotAllowed(allow)) => {
            return (Handler::Other, Err(Problem::method_not_allowed(allow)));
        }
    };
    let answer = match route {
        Route::Put(group) | Route::Post(group) => {
            push::push(services, options, request, payload, group).await
        }
        Route::Delete(group) => push::delete(services, group).await,
        Route::Scrape => scrape::scrape(Surface::Main, services, request).await,
        Route::Healthy => Ok(probes::healthy()),
        Route::Ready => ready(services),
        Route::Quit => probes::quit(services),
        Route::QuitByGet => Ok(HttpResponse::MethodNotAllowed()
            .content_type("text/plain; charset=utf-8")
            .insert_header((header::ALLOW, "OPTIONS, POST, PUT"))
            .body("Only POST or PUT requests allowed.")),
        Route::Reload => probes::reload(services),
        Route::Status => Ok(api::status(services)),
        Route::Metrics => api::metrics(services).await,
        Route::Wipe => api::wipe(services).await,
        Route::Page => Ok(page::page(services)),
        Route::Static(file) => page::file(file),
        Route::ApiOptions => Ok(api::with_cors(&mut HttpResponse::Ok()).finish()),
        Route::Options(allow) => {
            Ok(HttpResponse::Ok().insert_header((header::ALLOW, allow)).finish())
        }
    };
    let code = match &answer {
        Ok(response) => response.status(),
        Err(problem) => problem.status(),
    };
    count(services, &route, code, request.method());
    (route.handler(), answer)
}

fn ready(services: &Services) -> Result<HttpResponse, Problem> {
    match services.lifecycle.phase() {
        // While draining pushes are still taken; load balancers shall look elsewhere.
        Phase::Ready => Ok(probes::healthy()),
        Phase::Starting | Phase::Draining => probes::ready(services),
    }
}

/// Which names groups and pushes may bear.
fn names(services: &Services) -> Names {
    services.gateway.settings().group_names
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
