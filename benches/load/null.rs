//! The null server: the least that an actix server can do with a push or a scrape. Any cost beyond that
//! is the gateway's own.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures_core::Stream;

/// Serves until it is killed. A `POST` is read, dropped and answered 200. A `PUT` is kept, and a
/// `GET` sends the bytes kept: in pieces, or those of `/at-once` at once.
pub(crate) fn serve(port: u16) -> io::Result<()> {
    let ready: Arc<RwLock<Bytes>> = Arc::default();
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            let ready = ready.clone();
            App::new().default_service(web::to(move |request, payload| {
                let ready = ready.clone();
                async move { answer(&ready, request, payload).await }
            }))
        })
        .listen(TcpListener::bind(("127.0.0.1", port))?)?
        .run()
        .await
    })
}

async fn answer(
    ready: &RwLock<Bytes>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let keep = request.method() == Method::PUT;
    let mut kept = BytesMut::new();
    while let Some(Ok(chunk)) = poll_fn(|cx| Pin::new(&mut payload).poll_next(cx)).await {
        if keep {
            kept.extend_from_slice(&chunk);
        }
    }
    if request.method() == Method::GET {
        let bytes = ready.read().expect("not poisoned").clone();
        let mut response = HttpResponse::Ok();
        return match request.path() {
            "/at-once" => response.body(bytes),
            _ => response.body(SizedStream::new(bytes.len() as u64, Pieces(bytes))),
        };
    }
    if keep {
        *ready.write().expect("not poisoned") = kept.freeze();
    }
    HttpResponse::Ok().finish()
}

/// Bytes in pieces as long as those of a gateway. If actix is given many bytes at once, it first copies
/// them to a buffer of that size, which would not be the least possible work.
struct Pieces(Bytes);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        const PIECE_BYTES: usize = 256 << 10;
        let length = self.0.len().min(PIECE_BYTES);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}
