//! Listeners: sockets, workers, and what holds for every connection.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpRequest, HttpServer, web};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Services, Surface, dispatch};

#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// 0 is one for each core.
    pub workers: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    pub read_header_timeout: Duration,
    /// A peer that reads nothing of its answer for so long is dropped.
    pub write_stall_timeout: Duration,
    /// How long a stopping server waits for requests under way.
    pub shutdown_timeout: Duration,
}

/// Listeners that are bound and running, all with the same services.
#[derive(Debug)]
pub struct Servers {
    handles: Vec<ServerHandle>,
    pub main: Vec<SocketAddr>,
    pub management: Option<SocketAddr>,
}

impl Servers {
    /// Closes the listeners and waits for requests under way.
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

/// Binds and starts serving.
///
/// # Errors
/// If an address cannot be bound.
pub fn start(
    services: &Arc<Services>,
    options: &ServerOptions,
    main: &[SocketAddr],
    management: Option<SocketAddr>,
) -> io::Result<Servers> {
    let bound = main.iter().map(|&address| bind(address)).collect::<io::Result<Vec<_>>>()?;
    let management = management.map(bind).transpose()?;
    let main = bound.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let management_address = management.as_ref().map(TcpListener::local_addr).transpose()?;

    let mut handles =
        vec![spawn(server(services, options, Surface::Main, options.workers, bound)?)];
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

fn server(
    services: &Arc<Services>,
    options: &ServerOptions,
    surface: Surface,
    workers: usize,
    listeners: Vec<TcpListener>,
) -> io::Result<Server> {
    let for_requests = services.clone();
    let for_connections = services.clone();
    let stall = options.write_stall_timeout;
    let mut server = HttpServer::new(move || {
        let services = for_requests.clone();
        App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let services = services.clone();
            async move { dispatch(surface, &services, request, payload).await }
        }))
    })
    .keep_alive(options.keep_alive)
    .client_request_timeout(options.read_header_timeout)
    .shutdown_timeout(options.shutdown_timeout.as_secs())
    .tcp_nodelay(true)
    .disable_signals()
    .on_connect(move |connection, data| welcome(&for_connections, stall, connection, data));
    if workers > 0 {
        server = server.workers(workers);
    }
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

/// Counts the connection, or turns it away where all places are taken.
fn welcome(services: &Services, stall: Duration, connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    match services.gateway.permit_connection() {
        Some(permit) => _ = data.insert(permit),
        None => _ = socket.shutdown(std::net::Shutdown::Both),
    }
    // The kernel drops a peer that leaves data unread for so long; nothing of ours has to watch it.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(stall));
}

/// An unspecified IPv6 address takes IPv4 as well, as Go servers do.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
