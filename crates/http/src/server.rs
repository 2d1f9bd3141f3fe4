//! Starting and stopping the listeners.

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{HttpServer, dev::ServerHandle, rt::net::TcpStream, web};
use tokio::task::JoinHandle;
use trivault_engine::Engine;

use crate::{Conflict, Listener, ServerOptions, Shared, application, front::ArrivedAt, tls};

/// For a client to take the end of a connection that we close.
const DISCONNECT_TIME: Duration = Duration::from_secs(5);

/// Why the server cannot start; each with what an operator needs to know.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("TLS cannot be set up from {}: {reason}", path.display())]
    Tls { path: PathBuf, reason: String },
    #[error("{0}")]
    Overlap(#[from] Conflict),
    #[error("no listener is configured")]
    NoListener,
}

pub struct Server;

/// A running server. Dropping it leaves the listeners running; [`Running::stop`] ends them.
pub struct Running {
    /// As bound, in the order of the listeners.
    pub addresses: Vec<SocketAddr>,
    handles: Vec<ServerHandle>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Binds all listeners, then serves: when this returns, each address answers. Signals are left to the caller.
    ///
    /// # Errors
    /// Nothing listens when this fails.
    pub fn start(engine: Engine, options: ServerOptions) -> Result<Running, StartError> {
        let listeners = options.listeners.clone();
        start(listeners, Shared::new(engine, options)?)
    }
}

fn start(listeners: Vec<Listener>, mut shared: Shared) -> Result<Running, StartError> {
    if listeners.is_empty() {
        return Err(StartError::NoListener);
    }
    let mut sockets = Vec::new();
    for Listener { address, tls, dialects } in listeners {
        let tls = tls.as_ref().map(tls::load).transpose()?;
        let socket = TcpListener::bind(address).map_err(|source| StartError::Bind { address, source })?;
        let bound = socket.local_addr().map_err(|source| StartError::Bind { address, source })?;
        shared.selections.insert(bound, dialects);
        sockets.push((bound, socket, tls));
    }
    let limits = shared.limits;
    let shared = web::Data::new(shared);
    let mut running = Running { addresses: Vec::new(), handles: Vec::new(), tasks: Vec::new() };
    for (bound, socket, tls) in sockets {
        let shared = shared.clone();
        let server = HttpServer::new(move || application(&shared))
            .on_connect(remember_address)
            .workers(limits.workers)
            .max_connections(limits.connections)
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.head_time)
            .client_disconnect_timeout(DISCONNECT_TIME)
            .shutdown_timeout(limits.shutdown_time.as_secs().max(1))
            .disable_signals();
        let failed = |source| StartError::Bind { address: bound, source };
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(socket, tls).map_err(failed)?,
            None => server.listen(socket).map_err(failed)?,
        };
        let server = server.run();
        running.addresses.push(bound);
        running.handles.push(server.handle());
        running.tasks.push(tokio::spawn(server));
    }
    Ok(running)
}

/// The connection's own address is one of ours, whatever the listener was bound to.
fn remember_address(connection: &dyn Any, data: &mut actix_web::dev::Extensions) {
    let stream = connection
        .downcast_ref::<TcpStream>()
        .or_else(|| connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0));
    if let Some(Ok(address)) = stream.map(TcpStream::local_addr) {
        data.insert(ArrivedAt(address.ip()));
    }
}

impl Running {
    /// Stops listening; open requests get [`Limits::shutdown_time`] to end.
    pub async fn stop(self) {
        let Self { addresses: _, handles, tasks } = self;
        futures_util::future::join_all(handles.iter().map(|handle| handle.stop(true))).await;
        for task in tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a listener ended with an error"),
                Err(error) => tracing::warn!(%error, "a listener's task ended badly"),
            }
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
