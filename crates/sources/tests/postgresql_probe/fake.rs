//! Servers that answer as a test wants: with one error, or as a pooler in front of a real one.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

/// Number of the question for TLS, in place of a protocol's version.
const TLS_QUESTION: u32 = 80_877_103;

/// A listener on a free port; each connection is handled in a thread of its own.
pub fn listen(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(connection));
        }
    });
    port
}

/// The first message: its bytes, after a question for TLS was answered with no.
pub fn startup(connection: &mut TcpStream) -> Vec<u8> {
    loop {
        let mut length = [0; 4];
        connection.read_exact(&mut length).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        connection.read_exact(&mut rest).unwrap();
        if rest[..4] == TLS_QUESTION.to_be_bytes() {
            connection.write_all(b"N").unwrap();
            continue;
        }
        return [&length[..], &rest].concat();
    }
}

/// An error that ends the connection.
pub fn fail(connection: &mut TcpStream, code: &str, message: &str) {
    let body = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let mut bytes = vec![b'E'];
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body.as_bytes());
    connection.write_all(&bytes).unwrap();
}

/// Hands a connection on to a real server, until either side ends it.
pub fn forward(mut client: TcpStream, first: &[u8], port: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    server.write_all(first).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
