//! The page for people: one file, with its own script and style. It shows what comes from the JSON API,
//! so nothing has to be escaped here: the script inserts it as text.

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::http::Services;
use crate::http::error::Problem;

const PAGE: &str = include_str!("web/index.html");
const FILES: [(&str, &str, &str); 2] = [
    ("pushgateway.js", "text/javascript; charset=utf-8", include_str!("web/pushgateway.js")),
    ("pushgateway.css", "text/css; charset=utf-8", include_str!("web/pushgateway.css")),
];

/// Allows only our own script, style and API. The icon is an empty one in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'self'; form-action 'none'; \
                      frame-ancestors 'self'";

/// `GET /`, `/status`
pub(super) fn page(services: &Services) -> HttpResponse {
    // A prefix has no other characters with a meaning in HTML.
    let base = services.options.external_path.replace('&', "&amp;").replace('\'', "&#39;");
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(PAGE.replace("{base}", &base))
}

/// `GET /static/…`
///
/// # Errors
/// 404 for any other name.
pub(super) fn file(name: &str) -> Result<HttpResponse, Problem> {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let (_, content_type, content) = found.ok_or_else(|| Problem::not_found(name))?;
    Ok(HttpResponse::Ok()
        .content_type(*content_type)
        .insert_header((header::CACHE_CONTROL, "max-age=300"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(*content))
}
