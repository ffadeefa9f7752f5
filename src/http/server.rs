//! Listeners: sockets, workers, and everything that applies to all connections.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service};
use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpResponse, HttpServer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio_rustls::server::TlsStream;

use super::tls::Tls;
use super::{Services, Surface, dispatch};

#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// 0 is one for each core.
    pub workers: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    pub read_header_timeout: Duration,
    /// A peer that does not read its answer for so long is dropped.
    pub write_stall_timeout: Duration,
    /// How long to wait for requests in progress when stopping.
    pub shutdown_timeout: Duration,
}

/// Running listeners, all with the same services.
#[derive(Debug)]
pub struct Servers {
    handles: Vec<ServerHandle>,
    pub main: Vec<SocketAddr>,
    pub management: Option<SocketAddr>,
}

impl Servers {
    /// Closes the listeners, and waits for requests in progress.
    pub async fn stop(self) {
        for handle in self.handles {
            handle.stop(true).await;
        }
    }
}

/// Runs a future to its end on the runtime that servers need.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// Binds and starts serving. With `tls`, the main addresses speak nothing else. The management address is
/// always plain.
///
/// # Errors
/// If an address cannot be bound.
pub fn start(
    services: &Arc<Services>,
    options: &ServerOptions,
    main: &[SocketAddr],
    management: Option<SocketAddr>,
    tls: Option<&Arc<Tls>>,
) -> io::Result<Servers> {
    let bind = |&address: &SocketAddr| {
        bind(address, options.write_stall_timeout)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
    };
    let bound = main.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
    let management = management.as_ref().map(bind).transpose()?;
    let main = bound.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let management_address = management.as_ref().map(TcpListener::local_addr).transpose()?;

    let main_server = match tls {
        None => server(services, options, Surface::Main, options.workers, bound)?,
        Some(tls) => tls_server(services, options, bound, tls)?,
    };
    let mut handles = vec![spawn(main_server)];
    if let Some(listener) = management {
        handles.push(spawn(server(services, options, Surface::Management, 1, vec![listener])?));
    }
    Ok(Servers { handles, main, management: management_address })
}

fn spawn(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}

/// What a worker answers requests with, in the place of actix-web's `App`: nobody needs its routes and
/// extractors here, and it would cost a push 2,000 instructions.
fn front<C>(
    surface: Surface,
    services: Arc<Services>,
) -> impl ServiceFactory<
    Request,
    Config = C,
    Response = HttpResponse,
    Error = Infallible,
    InitError = (),
    Service = impl Service<Request, Response = HttpResponse, Error = Infallible, Future = impl Future>,
> {
    // This worker has its own reference count, so that requests do not fight for a cache line.
    let services = Rc::new(services);
    fn_service(move |request: Request| {
        let services = services.clone();
        async move { Ok(dispatch(surface, &services, request).await) }
    })
}

fn server(
    services: &Arc<Services>,
    options: &ServerOptions,
    surface: Surface,
    workers: usize,
    listeners: Vec<TcpListener>,
) -> io::Result<Server> {
    let for_requests = services.clone();
    let for_connections = services.clone();
    let mut server = HttpServer::new(move || front(surface, for_requests.clone()))
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.read_header_timeout)
        .shutdown_timeout(options.shutdown_timeout.as_secs())
        .disable_signals()
        .on_connect(move |connection: &dyn Any, data| {
            if let Some(stream) = connection.downcast_ref() {
                welcome(surface, &for_connections, stream, data);
            }
        });
    if workers > 0 {
        server = server.workers(workers);
    }
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

/// As [`server`] for the main addresses, with TLS. Put together from the same parts as actix-web's own server,
/// whose TLS settings could not be changed.
fn tls_server(
    services: &Arc<Services>,
    options: &ServerOptions,
    listeners: Vec<TcpListener>,
    tls: &Arc<Tls>,
) -> io::Result<Server> {
    let mut builder =
        Server::build().disable_signals().shutdown_timeout(options.shutdown_timeout.as_secs());
    if options.workers > 0 {
        builder = builder.workers(options.workers);
    }
    let stopping = builder.graceful_shutdown_signal();
    for (number, listener) in listeners.into_iter().enumerate() {
        let (services, options, tls) = (services.clone(), options.clone(), tls.clone());
        let stopping = stopping.clone();
        let factory = move || {
            let (stopping, for_connections) = (stopping.clone(), services.clone());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(options.keep_alive)
                .client_request_timeout(options.read_header_timeout)
                .secure()
                .on_connect_ext(move |stream: &TlsStream<TcpStream>, data: &mut Extensions| {
                    welcome(Surface::Main, &for_connections, stream.get_ref().0, data);
                })
                .finish(front(Surface::Main, services.clone()));
            let (services, tls) = (services.clone(), tls.clone());
            let timeout = options.read_header_timeout;
            fn_service(move |stream: TcpStream| {
                let (services, tls) = (services.clone(), tls.clone());
                async move {
                    // A handshake takes a place, too. It is free again before the connection takes its own.
                    let Some(_place) = services.gateway.permit_connection() else {
                        return Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
                    };
                    let peer = stream.peer_addr().ok();
                    tls.accept(stream, timeout).await.map_err(|error| {
                        services.gateway.telemetry().handshake_failed(peer, &error);
                        DispatchError::Io(error)
                    })
                }
            })
            .and_then(http)
        };
        builder = builder.listen(format!("tls-{number}"), listener, factory)?;
    }
    Ok(builder.run())
}

/// Counts the connection, or closes it if there is no place left.
fn welcome(surface: Surface, services: &Services, stream: &TcpStream, data: &mut Extensions) {
    let welcome = match surface {
        Surface::Main => services.gateway.permit_connection().map(|permit| _ = data.insert(permit)),
        Surface::Management => {
            let permit = services.management_connections.clone().try_acquire_owned();
            permit.ok().map(|permit| _ = data.insert(permit))
        }
    };
    if welcome.is_none() {
        let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
    }
}

/// The unspecified IPv6 address accepts IPv4 as well, like servers in Go.
///
/// Accepted connections inherit these options, so it takes no system call for each of them.
fn bind(address: SocketAddr, stall: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Answers are small and wanted at once.
    socket.set_tcp_nodelay(true)?;
    // The kernel drops a peer that leaves data unread for so long, and nobody has to watch it.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(stall))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::future::poll_fn;
    use std::io;

    use actix_web::rt::net::TcpListener;

    use super::*;
    use crate::gateway::{Gateway, Settings};
    use crate::http::{Guard, HttpOptions, StatusCode};
    use crate::lifecycle::{Lifecycle, Phase};
    use crate::telemetry::Telemetry;

    fn services() -> Arc<Services> {
        let lifecycle = Lifecycle::default();
        lifecycle.set(Phase::Ready);
        let options = HttpOptions {
            route_prefix: String::new(),
            push_success: StatusCode::OK,
            enable_lifecycle: false,
            enable_admin_api: false,
            read_body_timeout: Duration::from_secs(60),
            own_metrics_apart: false,
            scrapes_max: 1,
            external_path: String::new(),
            pushgateway: None,
            cors_allowed_origins: Vec::new(),
        };
        Arc::new(Services::new(
            Arc::new(Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)))),
            Arc::new(lifecycle),
            options,
            Arc::new(Guard::open()),
            Arc::new(|| Ok(String::new())),
            Box::new(BTreeMap::new),
        ))
    }

    /// Sends a request in one piece and reads an answer without a body.
    async fn exchange(client: &TcpStream, request: &[u8]) -> io::Result<String> {
        client.writable().await?;
        assert_eq!(client.try_write(request)?, request.len());
        let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
        while !answer.ends_with(b"\r\n\r\n") {
            client.readable().await?;
            match client.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Each further look costs as much as all else that is done for a small push.
    #[test]
    fn a_push_is_answered_at_the_first_look_at_its_connection() {
        const PUSHES: usize = 100;
        const PUSH: &str =
            "POST /metrics/job/j HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\na_total 1\n";
        let looks = Rc::new(Cell::new(0));
        let counted = looks.clone();
        block_on(async move {
            let http = HttpService::build().finish(front(Surface::Main, services())).tcp();
            let http = http.new_service(()).await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = Box::pin(http.call(stream));
            actix_web::rt::spawn(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                connection.as_mut().poll(cx)
            }));
            for _ in 0..PUSHES {
                let answer = exchange(&client, PUSH.as_bytes()).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        });
        let looks = looks.get();
        assert!((PUSHES..PUSHES + PUSHES / 4).contains(&looks), "{looks} looks at {PUSHES} pushes");
    }
}
