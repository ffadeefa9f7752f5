//! What each request means in pushgateway mode (pushgateway-contract 1).

use actix_web::http::Method;

use super::path::{self, Group};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Put(Group<'p>),
    Post(Group<'p>),
    Delete(Group<'p>),
    Scrape,
    Healthy,
    Ready,
    Quit,
    /// `GET /-/quit`, which gets an answer of its own.
    QuitByGet,
    Reload,
    Status,
    Metrics,
    Wipe,
    Page,
    Static(&'p str),
    /// `OPTIONS` for any path below `/api/v1/`.
    ApiOptions,
    /// `OPTIONS` for another known path.
    Options(&'static str),
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    NotFound,
    MethodNotAllowed(&'static str),
}

/// Options that affect the routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'o> {
    /// Begins with a slash.
    pub(super) telemetry_path: &'o str,
    pub(super) admin: bool,
}

const GETS: &str = "GET, HEAD, OPTIONS";
const PUSHES: &str = "DELETE, OPTIONS, POST, PUT";
const QUITS: &str = "GET, OPTIONS, POST, PUT";

impl Table<'_> {
    /// `path` is decoded, and without the route prefix and the slash in front.
    pub(super) fn route<'p>(&self, method: &Method, path: &'p str) -> Result<Route<'p>, NoRoute> {
        let get = matches!(*method, Method::GET | Method::HEAD);
        let write = matches!(*method, Method::PUT | Method::POST);
        let known = |matched: bool, route, allow| match matched {
            true => Ok(route),
            false if method == Method::OPTIONS => Ok(Route::Options(allow)),
            false => Err(NoRoute::MethodNotAllowed(allow)),
        };
        let api = path.strip_prefix("api/v1/").is_some() || path == "api/v1";
        match path {
            _ if api && method == Method::OPTIONS => Ok(Route::ApiOptions),
            "api/v1/status" => known(get, Route::Status, GETS),
            "api/v1/metrics" => known(get, Route::Metrics, GETS),
            "api/v1/admin/wipe" if self.admin => {
                known(method == Method::PUT, Route::Wipe, "OPTIONS, PUT")
            }
            "-/healthy" => known(get, Route::Healthy, GETS),
            "-/ready" => known(get, Route::Ready, GETS),
            "-/quit" if get => Ok(Route::QuitByGet),
            "-/quit" => known(write, Route::Quit, QUITS),
            "-/reload" => known(write, Route::Reload, "OPTIONS, POST, PUT"),
            "" | "status" => known(get, Route::Page, GETS),
            _ if is_at(path, self.telemetry_path) => known(get, Route::Scrape, GETS),
            _ => match (path.strip_prefix("static/"), path::group(path)) {
                (Some(file), _) => known(get, Route::Static(file), GETS),
                (_, Some(group)) => match *method {
                    Method::PUT => Ok(Route::Put(group)),
                    Method::POST => Ok(Route::Post(group)),
                    Method::DELETE => Ok(Route::Delete(group)),
                    _ => known(false, Route::Page, PUSHES),
                },
                _ => Err(NoRoute::NotFound),
            },
        }
    }
}

/// A slash at the end makes no difference.
fn is_at(path: &str, telemetry_path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    telemetry_path.strip_prefix('/') == Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'p>(method: Method, path: &'p str) -> Result<Route<'p>, NoRoute> {
        Table { telemetry_path: "/metrics", admin: false }.route(&method, path)
    }

    #[test]
    fn methods_and_what_is_allowed() {
        for (path, methods, allow) in [
            ("", "GET HEAD", GETS),
            ("status", "GET HEAD", GETS),
            ("metrics", "GET HEAD", GETS),
            ("metrics/", "GET HEAD", GETS),
            ("-/healthy", "GET HEAD", GETS),
            ("-/quit", "GET HEAD PUT POST", QUITS),
            ("api/v1/status", "GET HEAD", GETS),
            ("metrics/job/j/a/b", "PUT POST DELETE", PUSHES),
        ] {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"] {
                let found = at(method.parse().unwrap(), path);
                if methods.split(' ').any(|m| m == method) {
                    assert!(found.is_ok(), "{method} {path}");
                } else {
                    assert_eq!(found, Err(NoRoute::MethodNotAllowed(allow)), "{method} {path}");
                }
            }
            if !path.starts_with("api") {
                assert_eq!(at(Method::OPTIONS, path), Ok(Route::Options(allow)), "{path}");
            }
        }
        assert_eq!(at(Method::OPTIONS, "api/v1/nothing"), Ok(Route::ApiOptions));
    }

    #[test]
    fn unknown_paths() {
        for path in [
            "Metrics",
            "metrics/jobs/j",
            "metrics/instance/i/job/j",
            "metrics/job",
            "metrics/job/",
            "favicon.ico",
            "api/v1/admin/wipe",
            "api/v1/other",
        ] {
            assert_eq!(at(Method::PUT, path), Err(NoRoute::NotFound), "{path}");
        }
        let admin = Table { telemetry_path: "/x/y", admin: true };
        assert_eq!(admin.route(&Method::PUT, "api/v1/admin/wipe"), Ok(Route::Wipe));
        assert_eq!(admin.route(&Method::GET, "x/y"), Ok(Route::Scrape));
        assert_eq!(admin.route(&Method::GET, "metrics"), Err(NoRoute::NotFound));
    }
}
