//! A throwaway S3 server in memory (moto), one per value, on a port of its own.

use crate::require::venv_program;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Starts moto's server, whose threads look for an object and then store another one with nothing between them: of two requests that say
/// `If-None-Match: *` both could succeed, which S3 promises not to let happen. So one PUT of an object is served at a time.
const LAUNCHER: &str = "
import threading
from moto.s3.responses import S3Response
from moto.server import main

one_at_a_time, put_object = threading.Lock(), S3Response.put_object

def put_alone(self):
    with one_at_a_time:
        return put_object(self)

S3Response.put_object = put_alone
main()
";

/// A running server; it ends with this value. Any key and secret are accepted, buckets must be made first.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    address: String,
}

impl S3Server {
    /// Starts a server. `None` when `s3` is left out on purpose.
    ///
    /// # Panics
    /// When the server's virtual environment is absent or the server does not start; the message says what to do.
    pub fn start() -> Option<Self> {
        let program = venv_program("s3", "python3")?;
        let mut child = Command::new(&program)
            .args(["-c", LAUNCHER, "-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let Some(errors) = child.stderr.take() else { panic!("the S3 server's output was asked for") };
        let mut lines = BufReader::new(errors);
        let mut said = String::new();
        let address = loop {
            let before = said.len();
            if !matches!(lines.read_line(&mut said), Ok(1..)) {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the S3 server ended before it listened:\n{said}");
            }
            if let Some((_, url)) = said[before..].split_once("Running on http://") {
                break url.trim().to_owned();
            }
        };
        // The server logs each request; an unread pipe would stop it when full.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Some(Self { child, address })
    }

    /// The server's URL, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket (at least three characters).
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn make_bucket(&self, name: &str) {
        let status = self.request("PUT", &format!("/{name}"));
        assert!(status.contains(" 200 "), "bucket {name}: {status}");
    }

    /// Sends a request without a body and returns the answer's first line.
    fn request(&self, method: &str, path: &str) -> String {
        let mut answer = String::new();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        TcpStream::connect(&self.address)
            .and_then(|mut stream| {
                stream.write_all(head.as_bytes())?;
                stream.read_to_string(&mut answer)
            })
            .unwrap_or_else(|error| panic!("the S3 server does not answer: {error}"));
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
