//! One HTTP/1.1 request or answer, whole in memory.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Longer heads are no S3 requests.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// Head lines without those about the connection and the body's length, and the body.
#[derive(Debug)]
pub(super) struct Message {
    first: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of an answer to HEAD: the length that is told without a body.
    told_length: Option<String>,
}

impl Message {
    /// An answer as S3 gives it for a failure.
    pub fn refusal(status: u16, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned</Message></Error>");
        Self {
            first: format!("HTTP/1.1 {status} Planned"),
            headers: vec![("Content-Type".to_owned(), "application/xml".to_owned())],
            body: body.into_bytes(),
            told_length: None,
        }
    }

    /// The next request of a connection; `None` when it closes without one.
    pub fn read_request(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut reader = Bytes { stream, ahead: Vec::new() };
        let Some((first, headers)) = reader.head()? else { return Ok(None) };
        if header(&headers, "expect").is_some() {
            reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = if is_chunked(&headers) {
            reader.chunks()?
        } else {
            reader.exactly(header(&headers, "content-length").map_or(Ok(0), length)?)?
        };
        Ok(Some(Self { first, headers: kept(headers), body, told_length: None }))
    }

    /// The answer to a request with this method.
    pub fn read_answer(stream: &mut TcpStream, method: &str) -> io::Result<Self> {
        let mut reader = Bytes { stream, ahead: Vec::new() };
        let (first, headers) = reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let told = header(&headers, "content-length").map(str::to_owned);
        let (body, told_length) = if method == "HEAD" {
            (Vec::new(), told)
        } else if is_chunked(&headers) {
            (reader.chunks()?, None)
        } else if let Some(told) = told {
            (reader.exactly(length(&told)?)?, None)
        } else {
            (reader.rest()?, None)
        };
        Ok(Self { first, headers: kept(headers), body, told_length })
    }

    /// Of a request: its method and its path with query.
    pub fn method_and_target(&self) -> (&str, &str) {
        let mut words = self.first.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    fn head(&self) -> String {
        let mut head = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.told_length.clone().unwrap_or_else(|| self.body.len().to_string());
        // An answer without content must not tell a length.
        if !self.first.contains(" 204 ") && !self.first.contains(" 304 ") {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head + "Connection: close\r\n\r\n"
    }

    pub fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(self.head().as_bytes())?;
        stream.write_all(&self.body)
    }

    /// The first half of the body behind the whole head; half of the head where there is no body.
    pub fn first_half(&self) -> Vec<u8> {
        let head = self.head().into_bytes();
        if self.body.is_empty() {
            return head[..head.len() / 2].to_vec();
        }
        [&head, &self.body[..self.body.len() / 2]].concat()
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn is_chunked(headers: &[(String, String)]) -> bool {
    header(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn kept(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let ours = ["connection", "keep-alive", "transfer-encoding", "content-length", "expect"];
    headers.into_iter().filter(|(name, _)| !ours.iter().any(|ours| name.eq_ignore_ascii_case(ours))).collect()
}

fn length(text: &str) -> io::Result<usize> {
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// A stream with what was read of it too early.
struct Bytes<'a> {
    stream: &'a mut TcpStream,
    ahead: Vec<u8>,
}

/// First line and headers.
type Head = (String, Vec<(String, String)>);

impl Bytes<'_> {
    /// Reads on; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 64 << 10];
        let count = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    fn until(&mut self, mark: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(found) = self.ahead.windows(mark.len()).position(|window| window == mark) {
                let rest = self.ahead.split_off(found + mark.len());
                let mut line = std::mem::replace(&mut self.ahead, rest);
                line.truncate(found);
                return Ok(Some(line));
            }
            if self.ahead.len() > limit {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(head) = self.until(b"\r\n\r\n", HEAD_MAX_BYTES)? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        Ok(Some((first, headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())))
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.ahead))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n", HEAD_MAX_BYTES)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }
}
