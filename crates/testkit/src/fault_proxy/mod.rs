//! A proxy before an S3 server that does to requests what networks and servers do on bad days.
//!
//! It speaks as much HTTP/1.1 as S3 clients need: one request per connection, bodies by length or in chunks. A plan decides about each
//! request; [`by_seed`] makes one that can be repeated.

mod message;

use message::Message;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest time that the proxy holds a connection without a word.
const HELD: Duration = Duration::from_secs(600);

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Answered with this status and S3 error code; the server never sees it.
    Refused(u16, &'static str),
    /// Never answered; the server never sees it.
    Silent,
    /// The server does it, and its answer never comes; the connection stays open.
    SilentAfterEffect,
    /// The server does it, and the connection closes without an answer.
    CutAfterEffect,
    /// The connection closes before the server sees anything.
    CutBeforeEffect,
    /// Half of the request reaches the server, then both connections close.
    TornUpload,
    /// Half of the answer comes, then the connection closes.
    TornAnswer,
    /// The answer has half of its body and says that this is all.
    ShortBody,
    /// The answer comes whole, so many milliseconds late.
    Late(u64),
}

/// What a plan sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `GET`, `PUT` ...
    pub method: &'a str,
    /// Path with query.
    pub target: &'a str,
    /// How many came before it since the plan was set.
    pub number: u64,
}

impl Asked<'_> {
    /// Whether it asks for a listing of a bucket.
    pub fn is_listing(&self) -> bool {
        self.method == "GET" && self.target.contains("list-type=2")
    }
}

type Plan = Box<dyn FnMut(Asked<'_>) -> Option<Fault> + Send>;

struct Shared {
    server: SocketAddr,
    plan: Mutex<(Plan, u64)>,
    given: Mutex<BTreeMap<Fault, u64>>,
    answered: AtomicU64,
    ended: AtomicBool,
}

/// A running proxy; it ends with this value.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FaultProxy {
    /// Starts a proxy before the server at `http://HOST:PORT`, which lets everything pass until a plan is set.
    ///
    /// # Panics
    /// When the address cannot be read or no port is free.
    pub fn start(endpoint: &str) -> Self {
        let server = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok());
        let Some(server) = server else { panic!("{endpoint} is no address such as http://127.0.0.1:9000") };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no port is free: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("the proxy has no address: {error}"));
        let shared = Arc::new(Shared {
            server,
            plan: Mutex::new((Box::new(|_| None), 0)),
            given: Mutex::default(),
            answered: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let copy = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if copy.ended.load(Ordering::SeqCst) {
                    return;
                }
                let copy = Arc::clone(&copy);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serve(&copy, stream)));
            }
        });
        Self { shared, address }
    }

    /// The proxy's URL, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this plan decides; counts begin again.
    pub fn plan(&self, plan: impl FnMut(Asked<'_>) -> Option<Fault> + Send + 'static) {
        *guard(&self.shared.plan) = (Box::new(plan), 0);
        guard(&self.shared.given).clear();
        self.shared.answered.store(0, Ordering::SeqCst);
    }

    /// From now on everything passes.
    pub fn heal(&self) {
        self.plan(|_| None);
    }

    /// How many requests came since the plan was set.
    pub fn requests(&self) -> u64 {
        guard(&self.shared.plan).1
    }

    /// Bytes in the bodies of the server's answers since the plan was set.
    pub fn answered_bytes(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// The faults that the plan has given.
    pub fn given(&self) -> BTreeMap<Fault, u64> {
        guard(&self.shared.given).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

/// A plan that gives about one of `one_in` requests one of these faults, the same ones for the same seed and order of requests.
pub fn by_seed(seed: u64, one_in: u64, faults: &'static [Fault]) -> impl FnMut(Asked<'_>) -> Option<Fault> + Send {
    move |asked| {
        let mut mixed = (seed << 32 ^ asked.number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        for factor in [0xbf58_476d_1ce4_e5b9u64, 0x94d0_49bb_1331_11eb] {
            mixed = (mixed ^ (mixed >> 29)).wrapping_mul(factor);
        }
        mixed ^= mixed >> 31;
        let chosen = faults.get((mixed / one_in.max(1)) as usize % faults.len().max(1)).copied();
        if mixed.is_multiple_of(one_in.max(1)) { chosen } else { None }
    }
}

fn serve(shared: &Shared, mut client: TcpStream) -> std::io::Result<()> {
    let Some(request) = Message::read_request(&mut client)? else { return Ok(()) };
    let fault = {
        let (method, target) = request.method_and_target();
        let mut plan = guard(&shared.plan);
        let number = plan.1;
        plan.1 += 1;
        (plan.0)(Asked { method, target, number })
    };
    if let Some(fault) = fault {
        *guard(&shared.given).entry(fault).or_default() += 1;
    }
    match fault {
        None => pass(shared, &request)?.write(&mut client),
        Some(Fault::Refused(status, code)) => Message::refusal(status, code).write(&mut client),
        Some(Fault::Silent) => hold(&mut client),
        Some(Fault::SilentAfterEffect) => {
            pass(shared, &request)?;
            hold(&mut client)
        }
        Some(Fault::CutAfterEffect) => pass(shared, &request).map(drop),
        Some(Fault::CutBeforeEffect) => Ok(()),
        Some(Fault::TornUpload) => {
            let mut server = TcpStream::connect(shared.server)?;
            server.write_all(&request.first_half())
        }
        Some(Fault::TornAnswer) => client.write_all(&pass(shared, &request)?.first_half()),
        Some(Fault::ShortBody) => {
            let mut answer = pass(shared, &request)?;
            answer.body.truncate(answer.body.len() / 2);
            answer.write(&mut client)
        }
        Some(Fault::Late(wait_ms)) => {
            let answer = pass(shared, &request)?;
            std::thread::sleep(Duration::from_millis(wait_ms));
            answer.write(&mut client)
        }
    }
}

/// What the server answers.
fn pass(shared: &Shared, request: &Message) -> std::io::Result<Message> {
    let mut server = TcpStream::connect(shared.server)?;
    request.write(&mut server)?;
    let answer = Message::read_answer(&mut server, request.method_and_target().0)?;
    shared.answered.fetch_add(answer.body.len() as u64, Ordering::SeqCst);
    Ok(answer)
}

/// Keeps the connection until the client gives up.
fn hold(client: &mut TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(HELD))?;
    let _ = client.read(&mut [0]);
    client.shutdown(Shutdown::Both)
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_by_seed_is_the_same_each_time_and_hits_about_as_often_as_it_says() {
        const FAULTS: &[Fault] = &[Fault::CutBeforeEffect, Fault::Refused(503, "SlowDown")];
        let run = |seed| {
            let mut plan = by_seed(seed, 4, FAULTS);
            (0..1000).map(|number| plan(Asked { method: "GET", target: "/", number })).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let hits = run(1).iter().flatten().count();
        assert!((150..350).contains(&hits), "{hits}");
        assert!(FAULTS.iter().all(|fault| run(1).contains(&Some(*fault))));
    }

    #[test]
    fn it_passes_requests_on_and_answers_as_planned() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                let request = Message::read_request(&mut stream).unwrap().unwrap();
                let mut answer = Message::refusal(200, "");
                answer.body = [b"got ".to_vec(), request.body].concat();
                answer.write(&mut stream).unwrap();
            }
        });
        let proxy = FaultProxy::start(&format!("http://{address}"));
        let ask = || {
            let mut stream = TcpStream::connect(proxy.address).unwrap();
            stream
                .write_all(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        assert!(ask().ends_with("\r\n\r\ngot abc"), "{}", ask());
        proxy.plan(|asked| (asked.number == 0).then_some(Fault::Refused(503, "SlowDown")));
        assert!(ask().starts_with("HTTP/1.1 503 "));
        assert!(ask().ends_with("got abc"));
        assert_eq!(proxy.requests(), 2);
        assert_eq!(proxy.answered_bytes(), 7);
        assert_eq!(proxy.given()[&Fault::Refused(503, "SlowDown")], 1);
        proxy.plan(|_| Some(Fault::TornAnswer));
        assert!(!ask().ends_with("got abc"));
        proxy.plan(|_| Some(Fault::ShortBody));
        assert!(ask().contains("Content-Length: 3\r\n"));
        proxy.plan(|_| Some(Fault::CutAfterEffect));
        assert_eq!(ask(), "");
    }
}
