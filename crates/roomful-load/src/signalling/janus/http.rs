//! As much of HTTP/1.1 as Janus' API needs: one request after another over one connection, JSON both ways.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The longest answer taken: a list of thousands of publishers.
const MAX_BODY_BYTES: usize = 16 << 20;

pub(super) struct Connection {
    authority: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) async fn open(authority: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(authority)
            .await
            .with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { authority: authority.to_owned(), stream: BufReader::new(stream) })
    }

    /// This side's address.
    pub(super) fn local_ip(&self) -> anyhow::Result<IpAddr> {
        Ok(self.stream.get_ref().local_addr()?.ip())
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.exchange("GET", path, "").await
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.exchange("POST", path, &body.to_string()).await
    }

    async fn exchange(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        self.stream.get_mut().write_all((head + body).as_bytes()).await.context("HTTP")?;
        let status = self.line().await?;
        if !status.starts_with("HTTP/1.1 200") {
            bail!("Janus answered {status}");
        }
        let mut length = None;
        let mut is_chunked = false;
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let body = if is_chunked {
            self.chunks().await?
        } else {
            let mut body = Vec::new();
            self.append(length.context("an answer without length")?, &mut body).await?;
            body
        };
        serde_json::from_slice(&body).context("an answer that is no JSON")
    }

    /// A body in chunks (RFC 9112 §7.1).
    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).context("a chunk without length")?;
            self.append(size, &mut body).await?;
            // The end of the chunk, or of the body.
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn append(&mut self, length: usize, body: &mut Vec<u8>) -> anyhow::Result<()> {
        let start = body.len();
        if start.saturating_add(length) > MAX_BODY_BYTES {
            bail!("an answer of more than {MAX_BODY_BYTES} bytes");
        }
        body.resize(start + length, 0);
        let part = body.get_mut(start..).unwrap_or_default();
        self.stream.read_exact(part).await.map(|_| ()).context("HTTP")
    }

    /// The next line, without its end.
    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await.context("HTTP")? == 0 {
            bail!("Janus closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_come_whole_or_in_chunks() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        for answer in [whole, chunked] {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let authority = server.local_addr().unwrap().to_string();
            let serving = async {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut request = [0; 16];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream
            };
            let asking = async {
                let mut connection = Connection::open(&authority).await.unwrap();
                connection.get("/janus").await.unwrap()
            };
            let (_stream, answer) = tokio::join!(serving, asking);
            assert_eq!(answer["a"], 1);
        }
    }
}
