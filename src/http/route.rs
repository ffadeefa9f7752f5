//! What each request means: the one routing table.
//!
//! Paths are matched raw, because clients lose pushes by redirects and normalised paths (clients R2).
//! Leading slashes count as one, and nothing else is rewritten.

use actix_web::http::Method;

use crate::auth::Right;
use crate::telemetry::Handler;

/// A request that is understood. `group` is what follows `/metrics` in the path of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Push {
        group: &'p str,
    },
    Delete {
        group: &'p str,
    },
    Scrape,
    Status,
    Metrics,
    Series,
    DeleteSeries,
    Wipe,
    Healthy,
    Ready,
    Quit,
    Reload,
    Page,
    /// `OPTIONS` of a known path.
    Options {
        allow: &'static str,
    },
}

/// Why a request is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    NotFound,
    MethodNotAllowed { allow: &'static str },
}

/// What a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Pushes, scrapes, API, probes.
    Main,
    /// Our own metrics and the probes, for `--web.management-address`.
    Management,
}

/// `prefix` is `--web.route-prefix`, without a trailing slash. It only holds for the main listener, which may
/// be behind a proxy that adds it.
pub(super) fn route<'p>(
    surface: Surface,
    prefix: &str,
    method: &Method,
    path: &'p str,
) -> Result<Route<'p>, NoRoute> {
    let prefix = match surface {
        Surface::Main => prefix,
        Surface::Management => "",
    };
    let path = below(prefix, path).ok_or(NoRoute::NotFound)?;
    let get = matches!(*method, Method::GET | Method::HEAD);
    let post = matches!(*method, Method::POST | Method::PUT);
    let known = |matched: bool, route, allow| match matched {
        true => Ok(route),
        false if method == Method::OPTIONS => Ok(Route::Options { allow }),
        false => Err(NoRoute::MethodNotAllowed { allow }),
    };
    match path {
        "-/healthy" => known(get, Route::Healthy, "GET, HEAD, OPTIONS"),
        "-/ready" => known(get, Route::Ready, "GET, HEAD, OPTIONS"),
        "metrics" if surface == Surface::Management => {
            known(get, Route::Scrape, "GET, HEAD, OPTIONS")
        }
        _ if surface == Surface::Management => Err(NoRoute::NotFound),
        "" => known(get, Route::Page, "GET, HEAD, OPTIONS"),
        "-/quit" => known(post, Route::Quit, "OPTIONS, POST, PUT"),
        "-/reload" => known(post, Route::Reload, "OPTIONS, POST, PUT"),
        "api/v1/status" => known(get, Route::Status, "GET, HEAD, OPTIONS"),
        "api/v1/metrics" => known(get, Route::Metrics, "GET, HEAD, OPTIONS"),
        "api/v1/series" if method == Method::DELETE => Ok(Route::DeleteSeries),
        "api/v1/series" => known(get, Route::Series, "DELETE, GET, HEAD, OPTIONS"),
        "api/v1/admin/wipe" => known(method == Method::PUT, Route::Wipe, "OPTIONS, PUT"),
        "metrics" | "metrics/" if get => Ok(Route::Scrape),
        _ => match path.strip_prefix("metrics") {
            Some(group) if group.is_empty() || group.starts_with('/') => match *method {
                Method::DELETE if !group.trim_matches('/').is_empty() => {
                    Ok(Route::Delete { group })
                }
                _ if group.trim_matches('/').is_empty() => {
                    known(post, Route::Push { group }, "GET, HEAD, OPTIONS, POST, PUT")
                }
                _ => known(post, Route::Push { group }, "DELETE, OPTIONS, POST, PUT"),
            },
            _ => Err(NoRoute::NotFound),
        },
    }
}

pub(super) fn below<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let path = path.trim_start_matches('/');
    match prefix.trim_matches('/') {
        "" => Some(path),
        prefix => {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
        }
    }
}

impl Route<'_> {
    /// The right that its sender needs. For paths that do not exist it is [`Right::Probe`].
    pub(super) fn right(&self) -> Right {
        match self {
            Route::Push { .. } | Route::Delete { .. } => Right::Push,
            Route::Scrape | Route::Status | Route::Metrics | Route::Series | Route::Page => {
                Right::Scrape
            }
            Route::DeleteSeries | Route::Wipe | Route::Quit | Route::Reload => Right::Admin,
            Route::Healthy | Route::Ready | Route::Options { .. } => Right::Probe,
        }
    }

    pub(super) fn handler(&self) -> Handler {
        match self {
            Route::Push { .. } => Handler::Push,
            Route::Delete { .. } => Handler::Delete,
            Route::Scrape => Handler::Scrape,
            Route::Status => Handler::Status,
            Route::Metrics => Handler::Metrics,
            Route::Series => Handler::Series,
            Route::DeleteSeries => Handler::DeleteSeries,
            Route::Wipe => Handler::Wipe,
            Route::Healthy => Handler::Healthy,
            Route::Ready => Handler::Ready,
            Route::Quit => Handler::Quit,
            Route::Reload => Handler::Reload,
            Route::Page => Handler::Page,
            Route::Options { .. } => Handler::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main(method: Method, path: &str) -> Result<Route<'_>, NoRoute> {
        route(Surface::Main, "", &method, path)
    }

    #[test]
    fn pushes_and_scrapes() {
        for path in ["/metrics", "/metrics/", "//metrics"] {
            assert_eq!(main(Method::GET, path), Ok(Route::Scrape), "{path}");
            assert!(matches!(main(Method::POST, path), Ok(Route::Push { .. })), "{path}");
        }
        let group = "/job/a%2Fb/x//y/1/";
        for (method, route) in [
            (Method::PUT, Ok(Route::Push { group })),
            (Method::POST, Ok(Route::Push { group })),
            (Method::DELETE, Ok(Route::Delete { group })),
            (Method::GET, Err(NoRoute::MethodNotAllowed { allow: "DELETE, OPTIONS, POST, PUT" })),
            (Method::OPTIONS, Ok(Route::Options { allow: "DELETE, OPTIONS, POST, PUT" })),
        ] {
            assert_eq!(main(method, &format!("/metrics{group}")[..]).map(own), route.map(own));
        }
        assert!(matches!(main(Method::DELETE, "/metrics"), Err(NoRoute::MethodNotAllowed { .. })));
        assert_eq!(main(Method::GET, "/metricsx"), Err(NoRoute::NotFound));
    }

    /// Lifts the borrow of the path.
    fn own(route: Route<'_>) -> String {
        format!("{route:?}")
    }

    #[test]
    fn a_prefix_moves_everything_below_it() {
        let at = |path| route(Surface::Main, "/gw", &Method::GET, path);
        assert_eq!(at("/gw/metrics"), Ok(Route::Scrape));
        assert_eq!(at("/gw"), Ok(Route::Page));
        assert_eq!(at("/metrics"), Err(NoRoute::NotFound));
        assert_eq!(at("/gwx/metrics"), Err(NoRoute::NotFound));
    }

    #[test]
    fn the_management_listener_has_probes_and_our_own_metrics_only() {
        let at = |method, path| route(Surface::Management, "/gw", &method, path);
        assert_eq!(at(Method::GET, "/metrics"), Ok(Route::Scrape));
        assert_eq!(at(Method::GET, "/-/ready"), Ok(Route::Ready));
        assert_eq!(at(Method::HEAD, "/-/healthy"), Ok(Route::Healthy));
        for path in ["/", "/metrics/job/x", "/api/v1/status", "/-/quit"] {
            assert_eq!(at(Method::POST, path), Err(NoRoute::NotFound), "{path}");
        }
    }
}
