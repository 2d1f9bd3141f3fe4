//! A TCP proxy that cuts connections at chosen moments, or lets them fall silent: before a request has any effect, or after it had one and
//! before the answer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Long enough for a server on this machine to carry out what it was sent.
const EFFECT_TIME: Duration = Duration::from_millis(150);
const BUFFER_BYTES: usize = 64 << 10;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It never arrives.
    BeforeEffect,
    /// It arrives, and the answer does not.
    AfterEffect,
    /// It never arrives, and the connection stays open on both sides.
    SilentBefore,
    /// It arrives and nothing comes back, and the connection stays open on both sides.
    SilentAfter,
}

/// A running proxy. Its threads end with the connections.
pub struct CuttingProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    /// Pieces that clients have sent since the start.
    requests: AtomicU64,
    /// The earliest first.
    cuts: Mutex<Vec<Planned>>,
    made: AtomicU64,
    /// Both ends of connections that have fallen silent.
    silent: Mutex<Vec<(TcpStream, TcpStream)>>,
}

#[derive(Clone, Copy)]
struct Planned {
    /// At which request.
    at: u64,
    cut: Cut,
    /// How long a silence lasts; `None`: for good.
    silence: Option<Duration>,
}

impl CuttingProxy {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(target: SocketAddr) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no port for the proxy: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("the proxy has no address: {error}"));
        let shared = Arc::new(Shared {
            target,
            requests: AtomicU64::new(0),
            cuts: Mutex::default(),
            made: AtomicU64::new(0),
            silent: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&client));
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes this cut at the request that comes after `requests` others. A silence lasts for good.
    pub fn cut_after(&self, requests: u64, cut: Cut) {
        self.plan(requests, cut, None);
    }

    /// As [`CuttingProxy::cut_after`]; a connection that falls silent is closed on both sides after so long, as by a network that gives
    /// it up.
    pub fn cut_after_for(&self, requests: u64, cut: Cut, silence: Duration) {
        self.plan(requests, cut, Some(silence));
    }

    fn plan(&self, requests: u64, cut: Cut, silence: Option<Duration>) {
        let at = self.shared.requests.load(Ordering::SeqCst) + requests + 1;
        let mut cuts = self.shared.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.push(Planned { at, cut, silence });
        cuts.sort_by_key(|planned| planned.at);
    }

    /// How many cuts were made.
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::SeqCst)
    }

    /// Makes none of the cuts that are still to come.
    pub fn heal(&self) {
        self.shared.cuts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let is_silent = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                pass(&server, client, || is_silent.load(Ordering::SeqCst).then_some(Cut::SilentBefore));
                if !is_silent.load(Ordering::SeqCst) {
                    let _ = client.shutdown(Shutdown::Both);
                }
            });
            pass(client, &server, || {
                let Planned { at: _, cut, silence } = self.next_cut()?;
                if matches!(cut, Cut::SilentBefore | Cut::SilentAfter)
                    && let (Ok(client), Ok(server)) = (client.try_clone(), server.try_clone())
                {
                    is_silent.store(true, Ordering::SeqCst);
                    match silence {
                        Some(length) => close_after(length, client, server),
                        None => self.silent.lock().unwrap_or_else(PoisonError::into_inner).push((client, server)),
                    }
                }
                Some(cut)
            });
            if !is_silent.load(Ordering::SeqCst) {
                // The answer to what was sent before must not come through either.
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
        });
    }

    fn next_cut(&self) -> Option<Planned> {
        let request = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = *cuts.first()?;
        if request < planned.at {
            return None;
        }
        cuts.remove(0);
        self.made.fetch_add(1, Ordering::SeqCst);
        Some(planned)
    }
}

fn close_after(length: Duration, client: TcpStream, server: TcpStream) {
    thread::spawn(move || {
        thread::sleep(length);
        for side in [client, server] {
            let _ = side.shutdown(Shutdown::Both);
        }
    });
}

/// Copies until one side ends or a cut is due.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut cut: impl FnMut() -> Option<Cut>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer) else { return };
        match cut() {
            None => {
                if to.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            Some(Cut::BeforeEffect | Cut::SilentBefore) => return,
            Some(Cut::SilentAfter) => {
                let _ = to.write_all(&buffer[..read]);
                return;
            }
            Some(Cut::AfterEffect) => {
                // The client hears nothing from here on; the server does what it was told.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.write_all(&buffer[..read]);
                thread::sleep(EFFECT_TIME);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Counts the bytes that arrive, and answers each piece with one byte.
    fn counting_server() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, arrived) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&arrived);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        counter.fetch_add(read as u64, Ordering::SeqCst);
                        let _ = stream.write_all(b"!");
                    }
                });
            }
        });
        (address, arrived)
    }

    fn ask(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 1];
        stream.write_all(b"?").is_ok() && stream.read_exact(&mut answer).is_ok()
    }

    #[test]
    fn a_request_is_lost_before_its_effect_or_its_answer_after_it() {
        for (cut, arrives) in [(Cut::BeforeEffect, 1), (Cut::AfterEffect, 2)] {
            let (target, arrived) = counting_server();
            let proxy = CuttingProxy::start(target);
            proxy.cut_after(1, cut);
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            assert!(ask(&mut stream) && !ask(&mut stream), "{cut:?}");
            let mut again = TcpStream::connect(proxy.address()).unwrap();
            assert!(ask(&mut again), "{cut:?}: the next connection is whole");
            assert_eq!((arrived.load(Ordering::SeqCst), proxy.made()), (arrives + 1, 1), "{cut:?}");
        }
    }

    #[test]
    fn a_connection_falls_silent_before_a_request_or_before_its_answer_and_stays_open() {
        for (cut, arrives) in [(Cut::SilentBefore, 1), (Cut::SilentAfter, 2)] {
            let (target, arrived) = counting_server();
            let proxy = CuttingProxy::start(target);
            proxy.cut_after(1, cut);
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            assert!(ask(&mut stream), "{cut:?}");
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            stream.write_all(b"?").unwrap();
            let error = stream.read(&mut [0; 1]).unwrap_err();
            assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
            assert_eq!((arrived.load(Ordering::SeqCst), proxy.made()), (arrives, 1), "{cut:?}");
        }
    }

    #[test]
    fn a_silence_with_an_end_closes_the_connection_then() {
        const SILENCE: Duration = Duration::from_millis(200);
        for (cut, arrives) in [(Cut::SilentBefore, 1), (Cut::SilentAfter, 2)] {
            let (target, arrived) = counting_server();
            let proxy = CuttingProxy::start(target);
            proxy.cut_after_for(1, cut, SILENCE);
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            assert!(ask(&mut stream), "{cut:?}");
            let begun = Instant::now();
            assert!(!ask(&mut stream) && begun.elapsed() >= SILENCE, "{cut:?}: {:?}", begun.elapsed());
            assert!(ask(&mut TcpStream::connect(proxy.address()).unwrap()), "{cut:?}: the next connection is whole");
            // What the silent connection has let through may be read only now.
            while arrived.load(Ordering::SeqCst) < arrives + 1 && begun.elapsed() < 100 * SILENCE {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!((arrived.load(Ordering::SeqCst), proxy.made()), (arrives + 1, 1), "{cut:?}");
        }
    }
}
